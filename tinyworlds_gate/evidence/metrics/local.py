"""Read the histories of a run on this machine: `Logs/<stage>_history_<run>.csv`, or a `.json` of that name."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.evidence.metrics.history import History, Row, history_of_rows, number, whole_number
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.plain_json import load_json


def local_histories(project_root: Path, run: str, stages: tuple[str, ...] = STAGES) -> dict[str, Path]:
    """Where the stages of one run have their histories: the CSV, or a JSON of the same name where there is no CSV.

    The names are exact, so that no file of another run matches. The files need not exist.
    """
    found = {}
    for stage in stages:
        table = project_root / "Logs" / f"{stage}_history_{run}.csv"
        exported = table.with_name(f"{stage}_history_{run}.json")
        found[stage] = exported if exported.is_file() and not table.is_file() else table
    return found


def origin_of_checkpoint(checkpoint: Path) -> tuple[Path, str] | None:
    """Return the run folder and the stage of a checkpoint `results/<run>/<stage>/checkpoints/…`; None elsewhere.

    For `--train-stage none`: what was trained elsewhere can still be analysed, by a path that the user named.
    """
    parts = checkpoint.parts
    at = max((i for i, part in enumerate(parts) if part == "checkpoints"), default=0)
    return None if at < 2 else (Path(*parts[: at - 1]), parts[at - 1])


def read_history(stage: str, path: Path) -> History:
    """Read a CSV, or a JSON (a list of rows, or a row a line).

    Unreadable rows (a torn last line) are left out and counted; of a repeated update the last counts.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix == ".json":
            return _collect(stage, path, _json_rows(file.read()))
        return _collect(stage, path, _csv_rows(file))


def _collect(stage: str, path: Path, found: Iterable[Mapping[str, Any] | None]) -> History:
    rows: dict[int, Row] = {}
    unreadable = repeated = 0
    for raw in found:
        step = whole_number(raw.get("_step")) if raw is not None else None
        if raw is None or step is None:
            unreadable += 1
            continue
        repeated += step in rows
        rows[step] = {name: number(raw[name]) for name in raw if name not in ("_step", "_timestamp")}
    return history_of_rows(stage, path, rows, unreadable_rows=unreadable, repeated_steps=repeated)


def _csv_rows(file: Iterable[str]) -> Iterable[Mapping[str, Any] | None]:
    """None for a row that lacks its last columns: it was torn."""
    reader = csv.DictReader(line.replace("\0", "") for line in file)
    names = reader.fieldnames or []
    for row in reader:
        row.pop(None, None)  # more cells than columns
        yield row if names and row[names[-1]] is not None else None


def _json_rows(text: str) -> Iterable[Mapping[str, Any] | None]:
    try:
        whole = load_json(text)
        rows = whole if isinstance(whole, list) else [whole]
    except ValueError:
        rows = [_parsed(line) for line in text.splitlines() if line.strip()]
    yield from (row if isinstance(row, dict) else None for row in rows)


def _parsed(line: str) -> object:
    try:
        return load_json(line)
    except ValueError:
        return None
