"""G4: the inference run left a picture that did not exist before and that decodes as an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PATTERN = "inference_results_gt_vs_pred_*.png"


@dataclass(frozen=True)
class PictureCheck:
    """The new picture, or why there is none."""

    path: Path | None
    problem: str


def existing_pictures(folder: Path) -> frozenset[Path]:
    """The pictures that lie there now; taken before the inference run starts."""
    return frozenset(folder.glob(PATTERN))


def check_new_picture(folder: Path, before: frozenset[Path]) -> PictureCheck:
    """Find the picture that appeared since ``before`` and decode it."""
    fresh = sorted(set(folder.glob(PATTERN)) - before)
    if not fresh:
        stale = f"{len(before)} older ones lie there" if before else "the folder holds none"
        return PictureCheck(None, f"no new {PATTERN} appeared in {folder.name}/ ({stale})")
    return check_picture(fresh[-1])


def check_picture(path: Path) -> PictureCheck:
    """Whether one file is a picture."""
    import matplotlib.image

    try:
        pixels = matplotlib.image.imread(path)
    except (OSError, ValueError, SyntaxError) as error:
        return PictureCheck(None, f"{path.name} does not decode as an image ({error})")
    if pixels.ndim < 2 or pixels.size == 0:
        return PictureCheck(None, f"{path.name} is an empty image")
    return PictureCheck(path, "")
