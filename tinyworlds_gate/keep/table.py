"""The table of kept runs: a JSON file with one entry for each profile, seed and ``--dataset``, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.keep.entry import Entry
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.plain_json import load_json

ABOUT = "One entry a profile and seed, written by `tinyworlds-gate keep`; the keys: docs/results.md."


def read_table(path: Path) -> dict[str, Any]:
    """Read the table; an empty one where there is no file.

    Raises:
        GateError: the file is no table of this command, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {"about": ABOUT, "entries": []}
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"The table {path} cannot be read: {error}. Name another file with --json.") from error
    try:
        table = load_json(text)
    except ValueError:
        table = None
    entries = table.get("entries") if isinstance(table, dict) else None
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "profile" in one for one in entries):
        raise GateError(
            f'{path} is no table of kept runs: expected a JSON object with a list "entries", each with its profile and '
            "seed. Name another file with --json, or move this one away."
        )
    return dict(table)


def with_entry(table: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """Return the table with this entry; it replaces one of the same profile, seed and dataset (pure)."""
    others = [one for one in table["entries"] if _key(one) != _key(entry)]
    return {**table, "entries": sorted([*others, entry], key=_order)}


def write_table(path: Path, table: Mapping[str, Any]) -> None:
    """Write the table.

    Raises:
        GateError: it cannot be written.
    """
    try:
        atomic_write(path, json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise GateError(
            f"Cannot write the table {path}: {error.strerror}. Make its folder writable, or name another file with "
            "--json."
        ) from error


def _key(entry: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return entry.get("profile"), entry.get("seed"), entry.get("dataset")


def _order(entry: Mapping[str, Any]) -> tuple[str, str, int, str]:
    seed = entry.get("seed")
    return str(entry.get("profile")), str(entry.get("dataset") or ""), seed if isinstance(seed, int) else -1, str(seed)
