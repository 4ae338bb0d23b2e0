"""The end of the terminal output: the verdict, the attempts, what did not pass, and where the reports lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.gate.verdict_words import limit_of, verdict_word
from tinyworlds_gate.names import PASS
from tinyworlds_gate.reports.model import rank
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.installation import resume_command
from tinyworlds_gate.run.journal import events_of

if TYPE_CHECKING:
    from tinyworlds_gate.gate.attempt_record import InferenceAttempt
    from tinyworlds_gate.plugin.session import GateSession

NOT_STRICT = "not a strict pass"
COLOURS = {
    "passed": "green",
    "degraded": "yellow",
    "failed": "red",
    "invalid": "red",
    "interrupted": "yellow",
    "partial": "yellow",
}


def write_summary(reporter: pytest.TerminalReporter, session: GateSession) -> None:
    """Write the section when a run was started, or was to be."""
    if session.no_run_problem is not None:
        reporter.write_sep("=", "tinyworlds_gate", red=True)
        reporter.write_line(session.no_run_problem, red=True)
    if session.loop is None or session.outcome is None:
        return
    from tinyworlds_gate.plugin.custom_metrics import custom_texts
    from tinyworlds_gate.reports.verdict_picture.draw import verdict_picture

    layout, outcome = session.loop.context.layout, session.outcome
    is_limited = limit_of(outcome.sentence) is not None or NOT_STRICT in outcome.sentence
    colour = "yellow" if outcome.status == "passed" and is_limited else COLOURS[outcome.status]
    reporter.write_sep("=", "tinyworlds_gate", **{colour: True})
    reporter.write_line(outcome.sentence, **{colour: True})
    for attempt in session.loop.attempts:
        measures = attempt.measures
        numbers = (
            f"MSE {measures.mse:.4f}, copy-last {measures.copy_last_mse:.4f}, "
            f"mean frame {measures.mean_frame_mse:.4f}, skill {measures.skill:.2f}, "
            f"tokenizer floor {measures.tokenizer_recon_mse:.4f}"
            if measures
            else "no measures"
        )
        if measures and measures.skill_strongest is not None:
            against = f"{measures.strongest_baseline} {measures.strongest_baseline_mse:.4f}"
            numbers += f", skill against the {against}: {measures.skill_strongest:.2f}"
        reporter.write_line(f"{attempt.name}: {_word(attempt)}, {numbers}")
    for line in custom_texts(session.loop).values():
        reporter.write_line(f"last attempt: {line}")
    for event in events_of(session.loop.context.journal.events(), "gate_verdict"):
        if event.get("disagreement"):
            reporter.write_line(f"{attempt_name(*attempt_of(event))}: {event['disagreement']}")
    if session.loop.attempts:
        reporter.write_line(f"the gate requires {session.loop.attempts[-1].verdict.thresholds.describe()}")
    reporter.write_line(f"requirements: {_requirement_counts([one for _, one in outcome.findings])}")
    grouped: dict[tuple[str, str], list[str]] = {}
    for _, one in outcome.findings:
        if one.verdict != PASS:
            grouped.setdefault((one.verdict, one.reason), []).append(one.id)
    for (verdict, reason), ids in grouped.items():
        reporter.write_line(f"  {verdict} {' '.join(dict.fromkeys(ids))}: {reason}")
    for id, path, reason in session.missing:
        reporter.write_line(f"  {id} is missing: {layout.relative(path)}: {reason}", red=True)
    for id, path in session.written.items():
        reporter.write_line(f"{id}  {layout.relative(path)}")
    if session.loop.attempts:
        last = session.loop.attempts[-1]
        for picture in (verdict_picture(layout, last.number, last.draw), last.picture):
            if picture is not None and picture.is_file():
                reporter.write_line(f"A7  {layout.relative(picture)}")
    if session.page is not None and session.page.exists():
        reporter.write_line(f"A8  {layout.relative(session.page)}")
    if session.record_problem is not None:
        reporter.write_line(f"the record of this run is not complete: {session.record_problem}", red=True)
    if session.summary_problem is not None:
        reporter.write_line(session.summary_problem, red=True)
    if outcome.status == "interrupted" or session.record_problem is not None or session.loop.stopped:
        kind = session.loop.context.settings.profile.kind
        reporter.write_line(f"to go on: {resume_command(kind, layout.run, session.explicit)}")
    reporter.write_line(f"run folder: {layout.relative(layout.root)}")


def _word(attempt: InferenceAttempt) -> str:
    """The verdict of an attempt, with what a pass is limited to."""
    measures = None if attempt.measures is None else vars(attempt.measures)
    fields = {"measures": measures, "thresholds": attempt.verdict.thresholds.as_record()}
    return verdict_word({"verdict": attempt.verdict.verdict, **fields})


def _requirement_counts(findings: Sequence[Finding]) -> str:
    """`3 NOT-RUN, 53 PASS`, as the reports count them: an ID once, with the worst verdict of its tests."""
    worst: dict[str, str] = {}
    for one in findings:
        worst[one.id] = min(one.verdict, worst.get(one.id, one.verdict), key=rank)
    counts = Counter(worst.values())
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts, key=rank))


VARIABLE = "GITHUB_STEP_SUMMARY"


def append_summary(session: GateSession) -> str | None:
    """Append the summary where GitHub asked for one and tests of the closed loop were to run.

    Returns:
        Why it could not be written; the verdict does not hang on it.
    """
    path = os.environ.get(VARIABLE)
    if not path or not (session.validates or session.loop is not None):
        return None
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(_text(session) + "\n")
    except (GateError, OSError) as error:
        return f"the job summary ${VARIABLE} could not be written: {error}"
    return None


def _text(session: GateSession) -> str:
    from tinyworlds_gate.reports.summary import job_summary, no_run_summary

    if session.loop is None:
        return no_run_summary(
            session.start_problem or session.no_run_problem or "The session ended before it; its log says why."
        )
    from tinyworlds_gate.reports.model import load_record

    layout = session.loop.context.layout
    return job_summary(load_record(layout.project_root, layout.root), session.missing)
