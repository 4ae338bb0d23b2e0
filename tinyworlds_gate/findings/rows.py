"""Judge every requirement from a run's whole journal and the files that it names.

A row is a pure function of those: the validation tests, the end of a session and `tinyworlds-gate report` call the same
one. A journal of an older version may lack a fact; the row that was recorded then stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tinyworlds_gate.config.requested import OF_ANALYSIS, OF_TRAINING
from tinyworlds_gate.findings import (
    baseline,
    inference,
    preparation,
    processes,
    reporting,
    retraining,
    retuning,
    training,
)
from tinyworlds_gate.findings.base import LEFT_OUT, Events, Finding, MissingFactError, no_occasion, not_run
from tinyworlds_gate.findings.facts import stage_gate_thresholds
from tinyworlds_gate.findings.monitoring import long_watch
from tinyworlds_gate.findings.reporting import RunFiles
from tinyworlds_gate.names import NOT_RUN
from tinyworlds_gate.reports.requirements import REQUIREMENTS
from tinyworlds_gate.run.journal import last_event

Judge = Callable[[Events], "Finding | list[Finding]"]

BY_JOURNAL: Sequence[tuple[tuple[str, ...], Judge]] = (
    (("L1",), processes.stale_processes),
    (("L2", "H5"), processes.single_launcher),
    (("L3", "H6"), processes.device_rows),
    (("L4",), preparation.git_history),
    (("L5",), training.stage_order),
    (("L6", "L7"), inference.inference_run),
    (("L8", "T5", "T7"), retraining.retraining_rows),
    (("L9",), reporting.metric_analysis),
    (("C1", "C2", "C3"), preparation.config_alignment),
    (("C4",), inference.agreement),
    (("P1", "P2", "H9"), training.parameters),
    (("P3",), partial(preparation.profile_values, id="P3")),
    (("P4",), partial(preparation.profile_values, id="P4")),
    (("G1", "G2", "G3", "G4", "G5"), inference.last_gate_conditions),
    (("G6",), inference.objects),
    (("G7",), inference.past),
    (("G8",), inference.strongest_baseline),
    (("G9",), baseline.accepted_baseline),
    *(((id,), partial(training.stage_gate, stage=stage)) for stage, id in training.GATE_OF_STAGE.items()),
    (("S4",), training.chunk_checkpoints),
    (("S5",), lambda events: training.thresholds_named(events, stage_gate_thresholds(events))),
    (("T1", "T2", "T3", "T4", "T6"), retuning.retunes),
    (("M1", "M2", "M3"), training.channels),
    (("H1", "H2"), training.defaults),
    (("H3",), inference.gate_passed),
    (("H7",), training.absolute_steps),
    (("H8",), training.degraded),
)
"""Requirements → the function that judges them from the journal alone."""

BY_FILES: Sequence[tuple[tuple[str, ...], Callable[[Events, RunFiles], Finding | list[Finding]]]] = (
    (("M4",), lambda events, files: long_watch(files.layout)),
    (("A4",), reporting.plots),
    (("A1", "A2", "A3", "A5", "A6", "A7", "L10", "H4"), reporting.artifacts),
    (("A8",), reporting.html_page),
)
"""Requirements → the function that judges them from the journal and the run's files."""


def judge_rows(events: Events, files: RunFiles | None = None) -> list[Finding]:
    """Return a finding for each requirement, in specification order.

    Args:
        events: the whole journal.
        files: where the run's files are; None for a journal alone, whose rows on files stay as they were recorded.
    """
    judged = {id: row for ids, judge in BY_JOURNAL for id, row in _judged(ids, judge, events).items()}
    for ids, judge_files in BY_FILES:
        if files is None:
            judged |= {id: recorded_row(events, id, "its files") for id in ids}
        else:
            judged |= _judged(ids, judge_files, events, files)
    if (complete := training.complete_stages(events)) and last_event(events, "chunk_started") is None:
        why = "; ".join(complete.values())
        missing = [id for id in (*OF_TRAINING, *OF_ANALYSIS) if judged[id].is_missing]
        judged |= {id: no_occasion(id, why) for id in missing}
    return [judged[id] for id in REQUIREMENTS]


def judge_row(id: str, events: Events, files: RunFiles | None = None) -> Finding:
    """Return the finding on one requirement."""
    return next(one for one in judge_rows(events, files) if one.id == id)


def _judged(
    ids: tuple[str, ...], judge: Callable[..., Finding | list[Finding]], events: Events, *files: RunFiles
) -> dict[str, Finding]:
    try:
        found = judge(events, *files)
    except MissingFactError as missing:
        return {id: recorded_row(events, id, str(missing)) for id in ids}
    rows = {one.id: one for one in ([found] if isinstance(found, Finding) else found)}
    return {id: rows.get(id) or not_run(id, f"the journal records nothing for {id}") for id in ids}


def recorded_row(events: Events, id: str, fact: str) -> Finding:
    """Return the row as it was recorded, for a journal that lacks a fact."""
    event = last_event(events, "requirement", id=id)
    if event is None:
        return not_run(id, f"the journal does not record {fact}")
    return Finding(id, event["verdict"], event["reason"], event.get("evidence"), event.get("follows_from"))


def rejudged(events: Events, files: RunFiles | None) -> dict[str, Finding]:
    """Return requirement → its row judged now, for a finished run whose rows were recorded when it ended.

    A requirement whose test was left out stays as it was recorded, and so does one whose test itself broke.
    """
    recorded = {id: last_event(events, "requirement", id=id) for id in REQUIREMENTS}
    return {
        one.id: one
        for one in judge_rows(events, files)
        if (event := recorded[one.id]) is not None and not _stays(event, one)
    }


def _stays(event: dict[str, Any], row: Finding) -> bool:
    reason = str(event["reason"])
    if event["verdict"] == NOT_RUN:
        left_out = any(reason.startswith(one) for one in LEFT_OUT) or "deselected" in reason
        return left_out or (row.verdict == NOT_RUN and not row.had_no_occasion)
    return reason.startswith("the test itself broke") or reason == "the test passed"
