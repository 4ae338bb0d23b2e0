"""The file of measured speeds (docs/results/bench-*.json), and what has become slower since it was written.

Compare ratios to the yardstick of the same run; times of another machine or another day are not comparable.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.plain_json import load_json

ALLOWED_LOSS = 0.15
"""A ratio that is lower by more than this part is a regression."""


def summary_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored keys of one measurement, by stage or case."""
    if record["bench"] == "rollout":
        cases = record["cases"]
        return {
            "rollout_fps": {one["case"]: one["frames_per_s"] for one in cases},
            "rollout_same_tokens": {one["case"]: one["same_tokens"] for one in cases},
            "yardstick_ratio": {one["case"]: one["yardstick_ratio"] for one in cases},
        }
    stages = record["stages"]
    stored = {
        "train_updates_per_s": {one["stage"]: one["updates_per_s"] for one in stages},
        "first_update_s": {one["stage"]: one["first_update_s"] for one in stages},
        "peak_mem_gib": {one["stage"]: one["peak_mem_gib"] for one in stages},
        "yardstick_ratio": {one["stage"]: one["yardstick_ratio"] for one in stages},
    }
    speedups = {one["stage"]: one["ddp_speedup"] for one in stages if "ddp_speedup" in one}
    return stored | ({"ddp_speedup": speedups} if speedups else {})


def write_speeds(path: Path, record: Mapping[str, Any], command: str) -> None:
    """Add the measurement's keys to the file, with the command that measured them.

    Raises ``GateError`` when the file is there and is no JSON object.
    """
    stored = read_speeds(path) if path.exists() else {}
    for key, values in summary_of(record).items():
        stored[key] = {**stored.get(key, {}), **values}
    measured = {key: record[key] for key in ("device", "torch", "profile", "compile", "bytecode") if key in record}
    stored["measured"] = {**stored.get("measured", {}), record["bench"]: {"command": command, **measured}}
    atomic_write(path, json.dumps(stored, indent=1) + "\n")


def read_speeds(path: Path) -> dict[str, Any]:
    """Read the file; ``GateError`` when it is no JSON object."""
    try:
        stored = load_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(
            f"{path}: no file of stored speeds ({error}); write one with `bench train --write {path}`"
        ) from error
    if not isinstance(stored, dict):
        raise GateError(f"{path}: no file of stored speeds (it is no JSON object); move it away and write a new one")
    return stored


def regressions(stored: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """A sentence for each ratio that is lower than the stored one by more than ``ALLOWED_LOSS`` of it."""
    found = []
    now = summary_of(record)["yardstick_ratio"]
    for name, before in stored.get("yardstick_ratio", {}).items():
        if name in now and now[name] < before * (1 - ALLOWED_LOSS):
            found.append(
                f"{name}: {now[name]:.2f} times the yardstick, and it was {before:.2f}; {ALLOWED_LOSS:.0%} is allowed"
            )
    return found


WINDOW = 50


@dataclass(frozen=True)
class Rate:
    """Updates per second over windows of equal length: the median window, the slowest and the fastest."""

    median: float
    slowest: float
    fastest: float
    updates: int


def rate_of(moments: Sequence[float], skip: int) -> Rate:
    """The rate after the first ``skip`` updates, from the second at which each update was done.

    Raises ValueError when fewer than two moments are left.
    """
    left = moments[skip:]
    if len(left) < 2:
        raise ValueError(f"{len(moments)} updates less {skip} of warm-up leave nothing to time")
    width = min(WINDOW, len(left) - 1)
    windows = [width / max(left[start + width] - left[start], 1e-9) for start in range(0, len(left) - width, width)]
    return Rate(statistics.median(windows), min(windows), max(windows), len(left) - 1)
