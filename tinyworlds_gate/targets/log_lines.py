"""Parse a checkout's logs with a table of line patterns (pure).

Lines end with any system's line end, or with the carriage return of a progress bar. Colour codes are removed, invalid
UTF-8 is replaced, and unknown lines are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import field_validator

from tinyworlds_gate.config.schema import Schema

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_NUMBER = r"(?P<value>\S+)"


class LogPatterns(Schema):
    """Regular expressions for whole lines (``re.match``), with named groups (``GROUPS``)."""

    checkpoint: str = r"Using (?P<stage>video_tokenizer|latent_actions|dynamics) checkpoint:\s*(?P<path>\S.*?)\s*$"
    frame: str = r"Inferring frame (?P<number>\d+)/(?P<total>\d+)"
    stats: str = r"Inference stats"
    mse: str = rf"Mean Squared Error \(GT vs Pred\):\s*{_NUMBER}\s*$"
    mse_with_context: str = rf"Mean Squared Error \(GT vs Pred, full_with_context\):\s*{_NUMBER}\s*$"
    random_actions: str = r"\s*using random actions"
    progress: str = r"\s*\d+%\|.*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*\["
    loss: str = rf"\s*Step (?P<step>\d+) Loss:\s*{_NUMBER}"

    @field_validator("*")
    @classmethod
    def _compiles_with_its_groups(cls, text: str, info: Any) -> str:
        try:
            groups = re.compile(text).groupindex
        except re.error as error:
            raise ValueError(f"it is not a regular expression ({error})") from error
        missing = [name for name in GROUPS.get(info.field_name, ()) if name not in groups]
        if missing:
            raise ValueError(f"it lacks the named group(s) {', '.join(f'(?P<{name}>…)' for name in missing)}")
        return text

    def compiled(self, name: str) -> re.Pattern[str]:
        """Return the compiled pattern of this name."""
        return re.compile(getattr(self, name))


GROUPS: Mapping[str, tuple[str, ...]] = {
    "checkpoint": ("stage", "path"),
    "frame": ("number", "total"),
    "mse": ("value",),
    "mse_with_context": ("value",),
    "progress": ("done", "total"),
    "loss": ("step", "value"),
}
"""Pattern → its required named groups; the others have none."""

MARKERS: Mapping[str, str] = {
    "checkpoint": "Using … checkpoint:",
    "frame": "Inferring frame …",
    "stats": "Inference stats",
    "mse": "Mean Squared Error (GT vs Pred)",
}
"""Markers that an inference log must contain (G2, G3, G5) → their text in a sentence."""


@dataclass(frozen=True)
class InferenceLines:
    """Contents of an inference log; None if absent. Errors are means over frames in [0, 1]."""

    checkpoints: Mapping[str, str] = field(default_factory=dict)
    frames_inferred: int = 0
    has_stats: bool = False
    mse: float | None = None
    mse_with_context: float | None = None
    random_actions: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the texts of the markers that the log lacks."""
        absent = {
            "checkpoint": len(self.checkpoints) < 3,
            "frame": self.frames_inferred == 0,
            "stats": not self.has_stats,
            "mse": self.mse is None,
        }
        return tuple(MARKERS[name] for name, is_absent in absent.items() if is_absent)


def log_lines(text: str) -> Iterator[str]:
    """Yield the non-empty lines of a log, split at line feeds and carriage returns, without colour codes."""
    for line in re.split(r"[\r\n]+", text):
        clean = _ESCAPES.sub("", line)
        if clean.strip():
            yield clean


def read_log(path: Path) -> str:
    """Return a log's text; invalid UTF-8 is replaced, and a missing file is an empty log."""
    return path.read_bytes().decode("utf-8", errors="replace") if path.is_file() else ""


CONTRACT = LogPatterns()
"""The lines of the embedded reference, which are those of upstream TinyWorlds."""


def inference_lines(text: str, patterns: LogPatterns = CONTRACT) -> InferenceLines:
    """Parse an inference log with the patterns; the last occurrence of a marker counts."""
    compiled = {name: patterns.compiled(name) for name in LogPatterns.model_fields}
    found, checkpoints = InferenceLines(), dict[str, str]()
    for line in log_lines(text):
        for name, pattern in compiled.items():
            match = pattern.match(line)
            if match is None:
                continue
            if name == "checkpoint":
                checkpoints[match["stage"]] = match["path"]
            else:
                found = _with(found, name, match)
    return replace(found, checkpoints=checkpoints)


def _with(found: InferenceLines, name: str, match: re.Match[str]) -> InferenceLines:
    match name:
        case "frame":
            return replace(found, frames_inferred=found.frames_inferred + 1)
        case "stats":
            return replace(found, has_stats=True)
        case "mse":
            return replace(found, mse=_number(match["value"]))
        case "mse_with_context":
            return replace(found, mse_with_context=_number(match["value"]))
        case "random_actions":
            return replace(found, random_actions=found.random_actions + 1)
    return found


def newest_update(text: str, patterns: LogPatterns, updates: int, start: int = 0) -> int | None:
    """Return the last 0-based update that the end of a training log shows, or None.

    Only a progress bar with the total ``updates`` counts (a loader has its own bar); ``done`` updates in it mean that
    update ``done − 1`` was made. The bar of a chunk that resumed at update ``start`` may count from there.
    """
    bar, loss = patterns.compiled("progress"), patterns.compiled("loss")
    newest: int | None = None
    for line in log_lines(text):
        if (match := bar.match(line)) is not None and int(match["done"]) > 0:
            total = int(match["total"])
            if total in (updates, updates - start):
                newest = int(match["done"]) - 1 + updates - total
        elif (match := loss.match(line)) is not None:
            newest = max(int(match["step"]), -1 if newest is None else newest)
    return newest


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
