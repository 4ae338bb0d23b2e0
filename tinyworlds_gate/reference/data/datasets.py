"""Find the frames file of a dataset name; CRAFTER is generated at first use, other files must exist."""

from __future__ import annotations

import re
from pathlib import Path

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import check_frames_file, remedy, stride_from_fps
from tinyworlds_gate.reference.data.frames_writer import write_lock
from tinyworlds_gate.reference.data.progress import Progress

CRAFTER = "CRAFTER"


def dataset_path(project_root: Path, dataset: str, frame_size: int) -> Path:
    """Return ``data/crafter_<size>px_frames.h5`` for CRAFTER, ``data/<name>_frames.h5`` in lower case otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", dataset):
        raise DataError(
            f"dataset: {dataset!r} is not a name; letters, digits, - and _ are allowed (fix: CRAFTER or ZELDA)"
        )
    if dataset.upper() == CRAFTER:
        return project_root / "data" / f"crafter_{frame_size}px_frames.h5"
    return project_root / "data" / f"{dataset.lower()}_frames.h5"


def dataset_stride(path: Path, dataset: str, fps: int) -> int:
    """Return the stride at which to read a dataset for ``fps`` frames per second.

    A generated game has one frame per game step: 1. A file that records its rate (`data import`): the rate / fps.
    Otherwise 60 frames per second are assumed, as in ZELDA: 60 // 15 = 4.
    """
    stride = stride_from_fps(fps)
    if dataset.upper() == CRAFTER:
        return 1
    attrs = check_frames_file(path).attrs
    if "game" in attrs:
        return 1
    recorded = attrs.get("fps")
    return stride if recorded is None else max(1, round(float(recorded) / fps))


def ensure_dataset(
    project_root: Path,
    dataset: str,
    frame_size: int,
    *,
    num_frames: int,
    episode_length: int,
    seed: int,
    progress: Progress | None = None,
) -> Path:
    """Return the path of a valid frames file; generate CRAFTER when the file does not exist.

    An existing file is never overwritten; ``dataset_notes`` reports how it differs from the settings. Raises
    ``DataError`` when the file is broken, or when another dataset is missing (with the command that creates it).
    """
    path = dataset_path(project_root, dataset, frame_size)
    if dataset.upper() == CRAFTER and not path.exists():
        _generate_once(path, num_frames, frame_size, episode_length, seed, progress)
    info = check_frames_file(path)
    if dataset.upper() == CRAFTER and (info.height, info.width) != (frame_size, frame_size):
        raise DataError(
            f"{path} holds frames of {info.height} x {info.width} px, but its name says {frame_size}; {remedy(path)}"
        )
    return path


def _generate_once(
    path: Path, num_frames: int, frame_size: int, episode_length: int, seed: int, progress: Progress | None
) -> None:
    from tinyworlds_gate.reference.data.crafter_dataset import write_crafter

    with write_lock(path):  # a second process waits here and then finds the file
        if not path.exists():
            write_crafter(
                path,
                num_frames=num_frames,
                frame_size=frame_size,
                episode_length=episode_length,
                seed=seed,
                progress=progress,
            )


def dataset_notes(path: Path, *, num_frames: int, episode_length: int, seed: int) -> list[str]:
    """Return a sentence for each setting in which an existing generated file differs from the current settings."""
    attrs = check_frames_file(path).attrs
    settings = {"num_frames": num_frames, "episode_length": episode_length, "seed": seed}
    return [
        f"{path.name} was made with {name} {attrs[name]}, not {value}; it is used as it is (move it away to replace it)"
        for name, value in settings.items()
        if name in attrs and attrs[name] != value
    ]
