"""The end of a session: judge the run, journal the outcome, write the reports, and check that all of them exist."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import NOT_RUN
from tinyworlds_gate.plugin.interruption import INTERRUPTION
from tinyworlds_gate.plugin.outcome import RunOutcome
from tinyworlds_gate.plugin.selection import left_out_by
from tinyworlds_gate.plugin.session import GateSession
from tinyworlds_gate.plugin.validation_tests import requirement_ids

if TYPE_CHECKING:
    from tinyworlds_gate.context import RunContext
    from tinyworlds_gate.findings.base import Finding


def outlive_the_folder(config: pytest.Config) -> None:
    """Where the working folder was renamed or removed: end the session in the root folder.

    pytest changes to the working folder before it ends a session, and otherwise dies of that without a verdict.
    """
    if not config.invocation_params.dir.is_dir():
        here = config.invocation_params
        config.invocation_params = config.InvocationParams(args=here.args, plugins=here.plugins, dir=Path(os.sep))
        os.chdir(os.sep)


def finish(gate: GateSession, session: pytest.Session, exitstatus: int) -> None:
    """Judge the run, write `requirement` and `run_finished`, and render the reports."""
    if gate.loop is None:
        gate.note_no_run(session, exitstatus)
        return
    from tinyworlds_gate.plugin.outcome import decide_outcome
    from tinyworlds_gate.reports.render import write_reports
    from tinyworlds_gate.reports.requirements import REQUIREMENTS

    context = gate.loop.context
    try:
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            context.journal.append("interrupted", **gate.config.stash[INTERRUPTION].event())
        elif gate.loop.results:
            gate.loop.analyse()
            gate.loop.measure_beyond_the_gate()
        if exitstatus != pytest.ExitCode.INTERRUPTED:
            gate.loop.compare_with_baseline()
    except (GateError, OSError) as error:
        gate.note_unwritten(session, error)
    if exitstatus != pytest.ExitCode.INTERRUPTED and judge_again(gate, session) and exitstatus == pytest.ExitCode.OK:
        exitstatus = int(pytest.ExitCode.TESTS_FAILED)
    gate.outcome = decide_outcome(
        gate.loop,
        gate.findings,
        gate.deselected,
        _unreached(gate),
        exitstatus=exitstatus,
        page_expected=gate.page is not None,
        not_run_free=context.settings.profile.require_not_run_free,
        explicit=gate.explicit,
        not_asked=[id for id in REQUIREMENTS if id not in gate.carried],
        judges_model=context.settings.profile.judges_model,
        left_out_by=left_out_by(gate.config, context.settings.profile.kind),
    )
    session.exitstatus = gate.outcome.exit_status
    try:
        _record(gate, gate.outcome)
        context.journal.require_in_place()
        gate.written = write_reports(context.layout.project_root, context.layout.root)
    except (GateError, OSError) as error:
        # A full disk must not hide the verdict: the terminal shows it, and a resumed run writes the rest.
        gate.note_unwritten(session, error)


def judge_again(gate: GateSession, session: pytest.Session) -> bool:
    """Judge the rows of the tests that ran once more, from the whole journal, and turn the tests that this turns.

    A row that its test found broken stays so: its test failed. A row that breaks only now turns its test's report.

    Returns:
        Whether a test failed only now.
    """
    from tinyworlds_gate.findings.rows import judge_rows
    from tinyworlds_gate.plugin.turned import turn_report
    from tinyworlds_gate.reports.render import write_reports

    assert gate.loop is not None
    layout = gate.loop.context.layout
    try:
        gate.loop.context.journal.require_in_place()
        write_reports(layout.project_root, layout.root)
        gate.write_draft_page()
        rows = {one.id: one for one in judge_rows(gate.loop.context.journal.events(), gate.run_files())}
    except (GateError, OSError) as error:
        gate.note_unwritten(session, error)
        return False
    turned, tested = False, {one.id for found in gate.findings.values() for one in found}
    for test, found in gate.findings.items():
        now = [one if one.is_broken else _judged(rows[one.id], one) for one in found if one.id in rows]
        broken = [new for old, new in zip(found, now, strict=True) if new.is_broken and not old.is_broken]
        gate.findings[test] = now
        if not broken or gate.reports[test].failed:
            continue
        gate.reports[test] = turn_report(gate.config, gate.reports[test], broken, tested)
        for one in broken:
            gate.voice.say(f"{test}: {gate.reports[test].outcome} now: {one.id} {one.verdict}: {one.reason}")
        turned = turned or gate.reports[test].failed
    return turned


def _judged(row: Finding, found: Finding) -> Finding:
    """The row as judged now; a NOT-RUN that its test explained keeps the explanation."""
    return found if row.verdict == found.verdict == NOT_RUN and not row.had_no_occasion else row


def _record(gate: GateSession, outcome: RunOutcome) -> None:
    assert gate.loop is not None
    journal = gate.loop.context.journal
    for test, one in outcome.findings:
        journal.append(
            "requirement",
            id=one.id,
            test=test,
            verdict=one.verdict,
            reason=one.reason,
            evidence=one.evidence,
            follows_from=one.follows_from,
        )
    record_end(gate)


def record_end(gate: GateSession) -> None:
    """Journal the final outcome."""
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
