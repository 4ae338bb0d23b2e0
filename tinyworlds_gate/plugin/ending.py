"""The end of a session: judge the run, journal the outcome, write the reports, and check that all of them exist."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.plugin.interruption import INTERRUPTION
from tinyworlds_gate.plugin.outcome import RunOutcome
from tinyworlds_gate.plugin.session import GateSession
from tinyworlds_gate.plugin.validation_tests import requirement_ids


def finish(gate: GateSession, session: pytest.Session, exitstatus: int) -> None:
    """Judge the run, write `requirement` and `run_finished`, and render the reports."""
    if gate.loop is None:
        return
    from tinyworlds_gate.findings.monitoring import long_watch
    from tinyworlds_gate.plugin.outcome import CHECKED_AT_THE_END, decide_outcome
    from tinyworlds_gate.reports.render import write_reports
    from tinyworlds_gate.reports.requirements import REQUIREMENTS

    context = gate.loop.context
    try:
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            context.journal.append("interrupted", **gate.config.stash[INTERRUPTION].event())
        elif gate.loop.attempts:
            gate.loop.analyse()
    except (GateError, OSError) as error:
        gate.note_unwritten(session, error)
    gate.outcome = decide_outcome(
        gate.loop,
        gate.findings,
        gate.deselected,
        _unreached(gate),
        exitstatus=exitstatus,
        page_expected=gate.page is not None,
        kind=context.settings.profile.kind,
        explicit=gate.explicit,
        not_asked=[id for id in REQUIREMENTS if id not in gate.carried and id not in CHECKED_AT_THE_END],
        watched=long_watch(context.layout),
    )
    session.exitstatus = gate.outcome.exit_status
    try:
        _record(gate, gate.outcome)
        gate.written = write_reports(context.layout.project_root, context.layout.root)
    except (GateError, OSError) as error:
        # A full disk must not hide the verdict: it stands on the terminal, and a resumed run writes the rest.
        gate.note_unwritten(session, error)


def _record(gate: GateSession, outcome: RunOutcome) -> None:
    assert gate.loop is not None
    journal = gate.loop.context.journal
    for test, one in outcome.findings:
        journal.append(
            "requirement", id=one.id, test=test, verdict=one.verdict, reason=one.reason, evidence=one.evidence
        )
    record_end(gate)


def record_end(gate: GateSession) -> None:
    """Journal the outcome that stands."""
    assert gate.loop is not None
    assert gate.outcome is not None
    gate.loop.context.journal.append(
        "run_finished",
        status=gate.outcome.status,
        sentence=gate.outcome.sentence,
        exit_status=gate.outcome.exit_status,
        seconds=time.monotonic() - gate.began,
    )


def _unreached(gate: GateSession) -> dict[str, str]:
    """Requirements of selected tests that did not run: the session ended before them."""
    return {
        id: item.nodeid for item in gate.selected if item.nodeid not in gate.findings for id in requirement_ids(item)
    }


def check_artifacts(gate: GateSession, session: pytest.Session) -> None:
    """After the page was written: what is missing makes the session fail."""
    if gate.loop is None or gate.outcome is None:
        return
    try:
        _check_artifacts(gate, session, gate.loop.context, gate.outcome)
    except (GateError, OSError) as error:
        gate.note_unwritten(session, error)
    gate.loop.close()


def _check_artifacts(gate: GateSession, session: pytest.Session, context: RunContext, outcome: RunOutcome) -> None:
    from tinyworlds_gate.reports.missing import missing_reports

    for id, path in gate.written.items():
        context.journal.append("report_written", id=id, path=path)
    if gate.page is not None and gate.page.exists():
        context.journal.append("report_written", id="A8", path=gate.page)
    if outcome.complete:
        gate.missing = missing_reports(context.layout.project_root, context.layout.root, gate.page)
        if gate.missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def note_late_signal(gate: GateSession, session: pytest.Session) -> None:
    """A signal that came while the verdict was being written: the reports were finished first, and now say so too."""
    interruption = gate.config.stash[INTERRUPTION]
    if not interruption.signals.came or gate.loop is None or gate.outcome is None:
        return
    if gate.outcome.status == "interrupted":
        return
    from tinyworlds_gate.reports.render import write_reports

    context, before = gate.loop.context, gate.outcome
    gate.outcome = replace(
        before,
        status="interrupted",
        sentence=f"The run was interrupted while its reports were written. Before that it said: {before.sentence}",
        exit_status=int(pytest.ExitCode.INTERRUPTED),
        complete=False,
    )
    session.exitstatus = pytest.ExitCode.INTERRUPTED
    try:
        context.journal.append("interrupted", **interruption.event())
        record_end(gate)
        gate.written = write_reports(context.layout.project_root, context.layout.root)
    except (GateError, OSError) as error:
        gate.record_problem = str(error)


def summary(gate: GateSession) -> list[str]:
    """The fragments above the table of tests; none when no run was started.

    A journal that cannot be read costs the fragments, never the page: the tests and what they said stand below.
    """
    if gate.loop is None:
        return []
    from tinyworlds_gate.reports.model import load_record
    from tinyworlds_gate.reports.page import no_record_html, summary_html

    layout = gate.loop.context.layout
    page_dir = gate.page.parent if gate.page else None
    try:
        return summary_html(load_record(layout.project_root, layout.root), page_dir)
    except (GateError, OSError) as error:
        return [no_record_html(str(error))]
