"""One stage's metrics by update, in W&B's key names, wherever they were read (L9)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tinyworlds_gate.run.atomic import atomic_path

LOSS = "train/loss"
LEARNING_RATE = "learning_rate/group_0"
CODEBOOK = {"video_tokenizer": "train/codebook_usage", "latent_actions": "latent_actions/codebook_usage"}
ENTROPY = "action_entropy"
UNIQUE = "unique_actions"
GPU_MEMORY = "system/gpu_memory_allocated"
HELD_OUT_LOSS = "held_out/loss"
METRICS = (LOSS, LEARNING_RATE, *CODEBOOK.values(), ENTROPY, UNIQUE, GPU_MEMORY, HELD_OUT_LOSS)
"""What the stages log; other columns that a history may have are not analysed."""

Row = Mapping[str, float | None]
"""Metric → value of one update; null where the update has none."""


@dataclass(frozen=True)
class History:
    """One stage's metrics by update: `columns[name][i]` belongs to `steps[i]`, null where the file has none."""

    stage: str
    path: Path
    steps: tuple[int, ...]
    columns: Mapping[str, tuple[float | None, ...]]
    unreadable_rows: int = 0
    repeated_steps: int = 0

    def points(self, name: str) -> tuple[list[int], list[float]]:
        """The finite values of a column with their updates."""
        pairs = [
            (step, value)
            for step, value in zip(self.steps, self.columns.get(name, ()), strict=False)
            if value is not None and math.isfinite(value)
        ]
        return [step for step, _ in pairs], [value for _, value in pairs]


def history_of_rows(
    stage: str, path: Path, rows: Mapping[int, Row], *, unreadable_rows: int = 0, repeated_steps: int = 0
) -> History:
    """The history of rows by update; `path` is the file that holds them."""
    steps = sorted(rows)
    names = list(dict.fromkeys(name for step in steps for name in rows[step]))
    columns = {name: tuple(rows[step].get(name) for step in steps) for name in names}
    return History(stage, path, tuple(steps), columns, unreadable_rows, repeated_steps)


def write_history(path: Path, rows: Mapping[int, Row]) -> None:
    """Write rows as the stages do: `_step` and a column a metric; a value that is missing stays empty.

    Raises:
        OSError: the file cannot be written.
    """
    names = [name for name in METRICS if any(row.get(name) is not None for row in rows.values())]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["_step", *names])
        for step in sorted(rows):
            values = (rows[step].get(name) for name in names)
            writer.writerow([step, *("" if value is None else repr(value) for value in values)])


def number(value: object) -> float | None:
    """Convert a metric to float; None for anything that is no number.

    `"NaN"` and `"Infinity"` are what W&B's JSON writes where JSON has no such number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value) if value != "" else None
    except (ValueError, OverflowError):
        return None


def whole_number(value: object) -> int | None:
    """Convert an update's number to int; None for anything that is no whole number."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def centred_mean(values: list[float], reach: int) -> list[float]:
    """Mean of each value, the `reach` values before it and the `reach` after it, as far as they exist."""
    sums = list(accumulate(values, initial=0.0))
    spans = ((max(0, i - reach), min(len(values), i + reach + 1)) for i in range(len(values)))
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]


def first_and_last_tenth(values: list[float]) -> tuple[list[float], list[float]]:
    """The first and the last tenth of the values, at least one each (empty for no values)."""
    if not values:
        return [], []
    size = max(1, len(values) // 10)
    return values[:size], values[-size:]
