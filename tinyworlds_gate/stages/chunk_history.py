"""The part of a stage's history file that one chunk wrote, as the loop judges it (M1, P1)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.stages.verdicts import mean


@dataclass(frozen=True)
class ChunkHistory:
    """Metrics of the updates ``[start, end)`` in order; empty lists where the file has none."""

    steps: Sequence[int]
    losses: Sequence[float]
    learning_rates: Sequence[float]
    unique_actions: Sequence[float]
    action_entropy_nats: Sequence[float]
    seconds: float

    @property
    def updates_per_s(self) -> float | None:
        """Updates a second between the first and the last row."""
        return (len(self.steps) - 1) / self.seconds if len(self.steps) > 1 and self.seconds > 0 else None


def read_chunk_history(path: Path, start: int, end: int) -> ChunkHistory:
    """Rows of ``path`` whose ``_step`` lies in ``[start, end)``; a missing file has none.

    A row that is torn (the writer was killed) or is no number is left out; a loss that is NaN stays, because it
    is a finding.
    """
    rows = [row for row in _rows(path) if start <= int(row["_step"]) < end]
    times = [value for row in rows if math.isfinite(value := _number(row.get("_timestamp")))]
    return ChunkHistory(
        steps=[int(row["_step"]) for row in rows],
        losses=[_number(row.get("train/loss")) for row in rows],
        learning_rates=[_number(row.get("learning_rate/group_0")) for row in rows],
        unique_actions=_present(rows, "unique_actions"),
        action_entropy_nats=_present(rows, "action_entropy"),
        seconds=times[-1] - times[0] if len(times) > 1 else 0.0,
    )


def missing_updates(history: ChunkHistory, start: int, end: int) -> str | None:
    """Which of the updates ``[start, end)`` the history lacks or has twice; None when it has each once."""
    expected, found = range(start, end), list(history.steps)
    if found == list(expected):
        return None
    if not found:
        return f"the history has no row for the updates {start} to {end - 1}"
    absent = sorted(set(expected) - set(found))
    if absent:
        return f"the history lacks {len(absent)} of the updates {start} to {end - 1}, the first is {absent[0]}"
    return f"the history has {len(found)} rows for the {len(expected)} updates {start} to {end - 1}"


def recent_mean(values: Sequence[float], count: int = 20) -> float | None:
    """Mean of the last ``count`` values, None without any."""
    tail = list(values[-count:])
    return mean(tail) if tail else None


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [row for row in csv.DictReader(file) if _is_whole(row)]


def _is_whole(row: dict[str, str]) -> bool:
    """Every column is there (a torn row lacks the last ones), and the two that make it an update's row are filled."""
    return None not in row.values() and row.get("_step", "").isdecimal() and bool(row.get("train/loss"))


def _number(text: str | None) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan


def _present(rows: Sequence[dict[str, str]], key: str) -> list[float]:
    return [value for row in rows if math.isfinite(value := _number(row.get(key)))]
