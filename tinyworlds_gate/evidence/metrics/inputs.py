"""Inputs of the metric analysis: stages, update ranges, W&B run IDs.

All come from this run's journal, so that metrics of another run are never used.
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
class StageInput:
    """One stage's history: the local file, its W&B runs in the order of the chunks, the updates that it must hold.

    `updates` is None where it is unknown (a checkpoint from elsewhere); then any finite loss is enough.
    """

    stage: str
    local: Path
    logged: tuple[LoggedRun, ...] = ()
    updates: range | None = None


def stage_inputs(events: Iterable[Event], local: Mapping[str, Path]) -> list[StageInput]:
    """Return the inputs for the stages of `local` (stage → its local history)."""
    events = list(events)
    return [
        StageInput(
            stage,
            path,
            tuple(
                _logged(chunk)
                for chunk in events_of(events, "chunk_started", stage=stage)
                if chunk.get("wandb") is not None
            ),
            _trained(events, stage),
        )
        for stage, path in local.items()
    ]


def _logged(chunk: Event) -> LoggedRun:
    run: Mapping[str, Any] = chunk["wandb"]
    return LoggedRun(run["id"], run["project"], run.get("entity"), int(chunk["start_update"]), int(chunk["end_update"]))


def _trained(events: list[Event], stage: str) -> range | None:
    """Return the updates that count: from the first chunk's start to the stage's end."""
    chunks = events_of(events, "chunk_started", stage=stage)
    finished = last_event(events, "stage_finished", stage=stage)
    if not chunks or finished is None or finished.get("updates") is None:
        return None
    return range(min(int(chunk["start_update"]) for chunk in chunks), int(finished["updates"]))


def merge_rows(stage_input: StageInput, answers: Mapping[str, RunAnswer]) -> dict[int, Row]:
    """Merge the rows of the stage's W&B runs: a chunk replaces the rows of earlier tries from its start on."""
    rows: dict[int, Row] = {}
    for run in stage_input.logged:
        answer = answers.get(run.id)
        if answer is not None and answer.rows:
            rows = {step: row for step, row in rows.items() if step < run.start}
            rows |= answer.rows
    return rows


def history_problem(history: History, updates: range | None) -> str | None:
    """Return what the history lacks, as the end of a sentence; None when it is complete."""
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
