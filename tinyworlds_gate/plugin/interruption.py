"""Ctrl-C, SIGTERM and SIGHUP of a session that validates: it winds down once, in order, and its reports say so."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.launch.interrupts import SessionInterrupts, ended_by

if TYPE_CHECKING:
    from tinyworlds_gate.launch.ending import EndedProcess
    from tinyworlds_gate.plugin.session import GateSession


class Interruption:
    """A plugin of one session: what came, and what was ended because of it."""

    def __init__(self) -> None:
        self.signals = SessionInterrupts()
        self.ended: tuple[EndedProcess, ...] = ()

    def begin(self) -> None:
        """From here on Ctrl-C, SIGTERM and SIGHUP end the run in order: workers first, then the reports."""
        self.signals.install()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember what was ended."""
        self.ended = ended_by(excinfo.value)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """Around everything that other plugins write at the end: no signal cuts it short."""
        self.signals.hold()
        return (yield)

    def pytest_unconfigure(self) -> None:
        """The signals are someone else's again."""
        self.signals.restore()

    def event(self) -> dict[str, Any]:
        """The fields of ``interrupted`` (docs/journal.md)."""
        came = self.signals.came
        return {
            "signal": came[0] if came else None,
            "reason": f"the session received {' and then '.join(came)}" if came else "pytest was interrupted",
            "ended": [record.as_record() for record in self.ended],
        }


INTERRUPTION = pytest.StashKey[Interruption]()


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
        gate.record_end()
        gate.written = write_reports(context.layout.project_root, context.layout.root)
    except (GateError, OSError) as error:
        gate.record_problem = str(error)
