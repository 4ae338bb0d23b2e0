"""The recorded outcome of every marked test, merged into one JSON file (docs/results/faults.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
PASS, FAIL, NOT_RUN = "PASS", "FAIL", "NOT-RUN"

Tests = dict[str, dict[str, Any]]
"""Node ID → ``outcome`` (PASS, FAIL, NOT-RUN), ``reason``, ``seconds``, ``date``, ``machine``, ``commit``."""


def read_record(path: Path) -> dict[str, Tests]:
    """Return fault → its recorded tests; empty when there is no file yet."""
    if not path.exists():
        return {}
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {id: row["tests"] for id, row in rows.items()}


def merge(old: Mapping[str, Tests], new: Mapping[str, Tests], collected: Mapping[str, set[str]]) -> dict[str, Tests]:
    """Merge a session into the record: new outcomes replace old ones, but a skip never replaces a measurement.

    ``collected`` has the node IDs that this session collected for each fault, deselected ones too. An old test that its
    file no longer contains is dropped; one of a file that was not collected stays.
    """
    files = {_file(node) for nodes in collected.values() for node in nodes}
    merged: dict[str, Tests] = {}
    for id in [*old, *(id for id in new if id not in old)]:
        kept = {
            node: test
            for node, test in old.get(id, {}).items()
            if node in collected.get(id, set()) or _file(node) not in files
        }
        for node, test in new.get(id, {}).items():
            if test["outcome"] != NOT_RUN or kept.get(node, test)["outcome"] == NOT_RUN:
                kept[node] = test
        if kept:
            merged[id] = kept
    return merged


def verdict_of(tests: Tests) -> tuple[str, str]:
    """Return the verdict of a fault and its reason: FAIL when one test failed, NOT-RUN when none ran."""
    failed = [node for node, test in tests.items() if test["outcome"] == FAIL]
    skipped = [test["reason"] for test in tests.values() if test["outcome"] == NOT_RUN]
    if failed:
        return FAIL, f"failed: {', '.join(node.rpartition('::')[2] for node in failed)}"
    if len(skipped) == len(tests):
        return NOT_RUN, "; ".join(dict.fromkeys(skipped))
    return PASS, f"{len(skipped)} of {len(tests)} tests not run: {skipped[0]}" if skipped else ""


def write_record(path: Path, rows: Mapping[str, Tests]) -> None:
    """Write the record with the verdict of each fault and its tests."""
    data: dict[str, Any] = {}
    for id in sorted(rows):
        verdict, reason = verdict_of(rows[id])
        data[id] = {"verdict": verdict, "reason": reason, "tests": dict(sorted(rows[id].items()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": SCHEMA, "rows": data}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _file(node: str) -> str:
    return node.partition("::")[0]
