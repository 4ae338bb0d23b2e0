"""What was measured, as one JSON file (docs/results/gate-power.json): rows, trainings, machine, commit, command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.trainings import Training
from tinyworlds_gate.power.trial import Outcome, caught, caught_without
from tinyworlds_gate.run.journal import last_event, read_journal
from tinyworlds_gate.run.source_state import source_state

SCHEMA = 1
Record = dict[str, Any]


def read_record(path: Path) -> Record:
    """The record, or an empty one where there is no file yet."""
    if not path.exists():
        return {"schema": SCHEMA, "rows": {}, "limits": {}, "trainings": {}, "smoke_trainings": {}}
    content: Record = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_record(path: Path, record: Record) -> None:
    """Write the record, rows and seeds in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measured_here(project_root: Path) -> dict[str, str]:
    """Date, machine and commit of a measurement."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    source = source_state(project_root)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{cpus} CPU cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "commit": f"{(source.commit or 'unknown')[:10]}{'-dirty' if source.dirty else ''}",
    }


def row_of(defect: Defect, outcome: Outcome, root: Path) -> Record:
    """A row as recorded; the scene's own folder is left out of the sentence."""

    def told(sentence: str) -> str:
        return sentence.replace(f"{root}{os.sep}", "")

    return {
        "what": defect.what,
        "way": defect.way,
        "check": defect.check,
        "verdict": outcome.verdict,
        "sentence": told(outcome.sentence),
        "reason": told(outcome.reason),
        "reasons": list(outcome.reasons),
        "without": outcome.without,
        "caught": caught(defect, outcome),
        "caught_without": caught_without(defect, outcome),
        "seconds": round(outcome.seconds, 1),
    }


def add_rows(record: Record, key: str, rows: Mapping[str, Record], order: Iterable[str]) -> None:
    """Replace the rows that were measured; ``order`` are the rows that exist, and gone ones are dropped."""
    merged = {**record.get(key, {}), **rows}
    record[key] = {id: merged[id] for id in order if id in merged}


def add_trainings(record: Record, trainings: Iterable[Training], where: Mapping[str, str]) -> None:
    """Add or replace trainings by seed."""
    known = record.setdefault("trainings", {})
    for one in trainings:
        known[str(one.seed)] = {**{k: v for k, v in one.as_dict().items() if k != "sentence"}, **where}
    record["trainings"] = dict(sorted(known.items(), key=lambda item: int(item[0])))


def smoke_training(run: Path) -> tuple[str, Record]:
    """Seed and record of a finished run of the closed loop, from its journal.

    Raises:
        GateError: the folder holds no run with a verdict.
    """
    events = read_journal(run / "journal.jsonl")
    started, verdict = last_event(events, "run_started"), last_event(events, "gate_verdict")
    if started is None or verdict is None or not verdict.get("measures"):
        raise GateError(f"{run} holds no run with a verdict; name a finished run, results/<run>")
    measures, machine = verdict["measures"], started["machine"]
    names = ("mse", "mse_low", "mse_high", "skill", "skill_low", "copy_last_mse", "mean_frame_mse")
    row = {
        "verdict": verdict["verdict"],
        **{name: measures[name] for name in names},
        "attempts": verdict["attempt"],
        "date": datetime.fromtimestamp(started["time"], UTC).strftime("%Y-%m-%d"),
        "machine": f"{machine['cpus']} CPU cores, {machine['memory_gib']:.0f} GiB",
        "commit": str(started["commit"])[:10],
    }
    return str(started["seed"]), row
