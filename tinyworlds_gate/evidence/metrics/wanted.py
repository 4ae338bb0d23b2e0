"""What the analysis looks for: the stages of one run, the updates that they trained, the W&B runs that they logged to.

All of it comes from this run's journal, so that no other run's metrics can be taken for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.evidence.metrics.history import LOSS, History, Row
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer
from tinyworlds_gate.run.journal import Event, events_of, last_event


@dataclass(frozen=True)
class Sought:
    """One stage's history: the local file, its W&B runs in the order of the chunks, the updates that it must hold.

    `updates` is None where nobody knows (a checkpoint that was given): then a loss is enough.
    """

    stage: str
    local: Path
    logged: tuple[LoggedRun, ...] = ()
    updates: range | None = None


def sought_in(events: Iterable[Event], local: Mapping[str, Path]) -> list[Sought]:
    """What the journal says of the stages of `local` (stage → its local history)."""
    known = list(events)
    return [
        Sought(
            stage,
            path,
            tuple(
                _logged(chunk)
                for chunk in events_of(known, "chunk_started", stage=stage)
                if chunk.get("wandb") is not None
            ),
            _trained(known, stage),
        )
        for stage, path in local.items()
    ]


def _logged(chunk: Event) -> LoggedRun:
    run: Mapping[str, Any] = chunk["wandb"]
    return LoggedRun(run["id"], run["project"], run.get("entity"), int(chunk["start_update"]), int(chunk["end_update"]))


def _trained(events: list[Event], stage: str) -> range | None:
    """The updates that counted in the end: from the first chunk's start to where the stage stands."""
    chunks = events_of(events, "chunk_started", stage=stage)
    finished = last_event(events, "stage_finished", stage=stage)
    if not chunks or finished is None or finished.get("updates") is None:
        return None
    return range(min(int(chunk["start_update"]) for chunk in chunks), int(finished["updates"]))


def merged(sought: Sought, answers: Mapping[str, RunAnswer]) -> dict[int, Row]:
    """The rows of the stage's W&B runs as one: from its start on, a chunk replaces what earlier tries logged."""
    rows: dict[int, Row] = {}
    for run in sought.logged:
        answer = answers.get(run.id)
        if answer is not None and answer.rows:
            rows = {step: row for step, row in rows.items() if step < run.start}
            rows |= answer.rows
    return rows


def problem_of(history: History, updates: range | None) -> str | None:
    """Why a history does not tell the whole stage, as the end of a sentence; None when it does."""
    if not history.steps:
        return "holds no row"
    if not history.points(LOSS)[1]:
        return "holds no finite loss"
    absent = sorted(set(updates or ()) - set(history.steps))
    if absent:
        return (
            f"lacks {len(absent)} of the {len(updates or ())} updates {(updates or range(1))[0]} to "
            f"{(updates or range(1))[-1]}, the first is {absent[0]}"
        )
    return None
