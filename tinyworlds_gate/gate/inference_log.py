"""Reading the log of an inference run: the lines of shared/spec/tinyworlds.md §2, unknown lines ignored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CHECKPOINT = re.compile(r"^Using (video_tokenizer|latent_actions|dynamics) checkpoint:\s*(\S.*?)\s*$", re.MULTILINE)
_FRAME = re.compile(r"^Inferring frame (\d+)/(\d+)", re.MULTILINE)
_STATS = re.compile(r"^Inference stats", re.MULTILINE)
_MSE = re.compile(r"^Mean Squared Error \(GT vs Pred\):\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class InferenceLog:
    """What an inference log states; ``None`` where it says nothing."""

    checkpoints: Mapping[str, str]
    frames_inferred: int
    has_stats: bool
    mse: float | None


def parse_inference_log(text: str) -> InferenceLog:
    """Read the markers of G2, G3 and G5; carriage returns of progress bars count as line ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    values = _MSE.findall(lines)
    return InferenceLog(
        checkpoints=dict(_CHECKPOINT.findall(lines)),
        frames_inferred=len(_FRAME.findall(lines)),
        has_stats=bool(_STATS.search(lines)),
        mse=_number(values[-1]) if values else None,
    )


def read_inference_log(path: Path) -> InferenceLog:
    """Parse a log file; bytes that are no UTF-8 are replaced, a missing file is an empty log."""
    return parse_inference_log(path.read_text(encoding="utf-8", errors="replace") if path.exists() else "")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
