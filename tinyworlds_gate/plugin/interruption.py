"""Ctrl-C, SIGTERM and SIGHUP of a session that validates: it winds down once, in order, and its reports say so."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from tinyworlds_gate.launch.processes.interrupts import SessionInterrupts, ended_by

if TYPE_CHECKING:
    from tinyworlds_gate.launch.processes.end import EndedProcess


class Interruption:
    """A plugin of one session: what came, and what was ended because of it."""

    def __init__(self) -> None:
        self.signals = SessionInterrupts()
        self.ended: tuple[EndedProcess, ...] = ()

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
            "ended": self.ended,
        }


INTERRUPTION = pytest.StashKey[Interruption]()
