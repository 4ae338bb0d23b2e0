"""The record of all rows (docs/results/checkouts.json): one row a checkout, one run for each kind of device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
ABOUT = "One row a checkout, written by `python -m tests.checkouts`; the page checkouts.md is generated from it."
DEVICES = ("cpu", "1", "2")
"""The CPU, one GPU, two GPUs."""

EARLIER = ("injected", "verdict", "sentence", "exit_status", "seconds", "date", "fault")
"""What is kept of an earlier run."""

Rows = dict[str, dict[str, Any]]
"""``OWNER/NAME@COMMIT`` → ``repository``, ``commit``, ``kind``, ``capabilities``, ``runs`` {device: run}."""


def read_record(path: Path) -> Rows:
    """Return the rows of a record; empty if there is no file yet."""
    if not path.exists():
        return {}
    rows: Rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def merged(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> Rows:
    """Return all rows: a new run replaces the old one on the same kind of device, other runs stay.

    A run that did not pass is kept in ``earlier`` of the run that replaces it, if that one injects something else.
    """
    rows: Rows = {key: dict(row) for key, row in old.items()}
    for key, row in new.items():
        runs = dict(rows.get(key, {}).get("runs", {}))
        for device, run in row["runs"].items():
            earlier = _earlier(runs.get(device), run)
            runs[device] = {**run, "earlier": earlier} if earlier else run
        rows[key] = {**rows.get(key, {}), **row, "runs": runs}
    return rows


def _earlier(before: Mapping[str, Any] | None, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the runs before this one that did not pass and injected something else."""
    kept = [*run.get("earlier", [])]
    for one in () if before is None else (*before.get("earlier", []), before):
        known = [run["injected"], *(other["injected"] for other in kept)]
        if one["exit_status"] != 0 and one["injected"] not in known:
            kept.append({name: one[name] for name in EARLIER})
    return kept


def write_record(path: Path, rows: Rows) -> None:
    """Write the rows, sorted."""
    ordered = {
        key: {**rows[key], "runs": {name: rows[key]["runs"][name] for name in DEVICES if name in rows[key]["runs"]}}
        for key in sorted(rows, key=str.lower)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"schema": SCHEMA, "about": ABOUT, "rows": ordered}
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
