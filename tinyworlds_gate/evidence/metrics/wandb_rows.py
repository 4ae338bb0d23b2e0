"""Rows of W&B runs as metrics by update, and their JSON form between the child process and the harness."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.evidence.metrics.history import METRICS, Row, number, whole_number


@dataclass(frozen=True)
class LoggedRun:
    """A W&B run that one chunk logged to; the chunk was to train the updates `[start, end)`.

    `entity` is None where the account's default one is meant.
    """

    id: str
    project: str
    entity: str | None
    start: int
    end: int


@dataclass(frozen=True)
class RunAnswer:
    """The answer of a source about one W&B run: its rows by update, and its problem (the end of a sentence).

    `path` is `entity/project/id`, as far as it is known.
    """

    path: str
    rows: Mapping[int, Row]
    problem: str | None = None

    def as_line(self, run_id: str) -> str:
        """One line of JSON; NaN and infinities as W&B writes them."""
        names = [name for name in METRICS if any(name in row for row in self.rows.values())]
        rows = [[step, *(_jsonable(row.get(name)) for name in names)] for step, row in sorted(self.rows.items())]
        data = {"run": run_id, "path": self.path, "problem": self.problem, "metrics": names, "rows": rows}
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> RunAnswer:
        """The answer from what `as_line` wrote, parsed."""
        rows = {
            int(step): {
                name: value
                for name, raw in zip(data["metrics"], values, strict=True)
                if (value := number(raw)) is not None
            }
            for step, *values in data["rows"]
        }
        return cls(data["path"], rows, data["problem"])


def rows_between(raw_rows: Iterable[Mapping[str, Any]], start: int, end: int) -> dict[int, Row]:
    """W&B's rows as metrics by update; of a doubled update (in a parquet file and live) the later values count."""
    rows: dict[int, Row] = {}
    for raw in raw_rows:
        step = whole_number(raw.get("_step"))
        if step is not None and start <= step < end:
            values = {name: value for name in METRICS if (value := number(raw.get(name))) is not None}
            rows[step] = {**rows.get(step, {}), **values}
    return rows


def _jsonable(value: float | None) -> float | str | None:
    """JSON has no NaN: `"nan"` and `"inf"` are read back by `number`."""
    return value if value is None or value - value == 0 else repr(value)
