"""The measurements as one JSON file (docs/results/gate-power.json): defects, trainings, machine, commit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.trainings import Training
from tinyworlds_gate.power.trial import Outcome, caught, caught_without
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.journal import last_event, read_journal
from tinyworlds_gate.run.machine import total_memory_gib, usable_cpus
from tinyworlds_gate.run.source_state import source_state

SCHEMA = 1
Record = dict[str, Any]


def read_record(path: Path) -> Record:
    """Return the record, or an empty one when there is no file yet."""
    if not path.exists():
        return {"schema": SCHEMA, "rows": {}, "limits": {}, "trainings": {}, "smoke_trainings": {}}
    content: Record = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_record(path: Path, record: Record) -> None:
    """Write the record as JSON."""
    atomic_write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def measured_here(project_root: Path) -> dict[str, str]:
    """Return date, machine and commit of a measurement."""
    source = source_state(project_root)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{usable_cpus()} CPU cores, {total_memory_gib():.0f} GiB",
        "commit": f"{(source.commit or 'unknown')[:10]}{'-dirty' if source.dirty else ''}",
    }


def row_of(defect: Defect, outcome: Outcome, root: Path) -> Record:
    """Return the measurement of a defect as plain data; sentences have no paths of the scene."""

    def relative(sentence: str) -> str:
        return sentence.replace(f"{root}{os.sep}", "")

    return {
        "what": defect.what,
        "way": defect.way,
        "check": defect.check,
        "verdict": outcome.verdict,
        "sentence": relative(outcome.sentence),
        "reason": relative(outcome.reason),
        "reasons": list(outcome.reasons),
        "without": outcome.without,
        "caught": caught(defect, outcome),
        "caught_without": caught_without(defect, outcome),
        "seconds": round(outcome.seconds, 1),
    }


def add_rows(record: Record, key: str, rows: Mapping[str, Record], order: Iterable[str]) -> None:
    """Replace the measured rows; ``order`` has the IDs of all defects, other rows are dropped."""
    merged = {**record.get(key, {}), **rows}
    record[key] = {id: merged[id] for id in order if id in merged}


def add_trainings(
    record: Record, trainings: Iterable[Training], where: Mapping[str, str], key: str = "trainings"
) -> None:
    """Add or replace trainings, or variants of a healthy model, by seed."""
    known = record.setdefault(key, {})
    for one in trainings:
        measured = {"seed": one.seed, "verdict": one.verdict, **one.measures, "seconds": one.seconds}
        known[str(one.seed)] = measured | dict(where)
    record[key] = dict(sorted(known.items(), key=lambda item: int(item[0])))


def smoke_training(run: Path) -> tuple[str, Record]:
    """Return seed and record of a finished run of the closed loop, from its journal.

    Raises:
        GateError: the folder has no run with a verdict.
    """
    events = read_journal(run / "journal.jsonl")
    started, verdict = last_event(events, "run_started"), last_event(events, "gate_verdict")
    if started is None or verdict is None or not verdict.get("measures"):
        raise GateError(f"{run} has no run with a verdict; name a finished run, results/<run>")
    measures, machine = verdict["measures"], started["machine"]
    names = ("mse", "mse_low", "mse_high", "skill", "skill_low", "copy_last_mse", "mean_frame_mse")
    newer = ("skill_strongest", "skill_strongest_low")
    row = {
        "verdict": verdict["verdict"],
        **{name: measures[name] for name in names},
        **{name: measures.get(name) for name in newer},
        "attempts": verdict["attempt"],
        "date": datetime.fromtimestamp(started["time"], UTC).strftime("%Y-%m-%d"),
        "machine": f"{machine['cpus']} CPU cores, {machine['memory_gib']:.0f} GiB",
        "commit": str(started["commit"])[:10],
    }
    return str(started["seed"]), row
