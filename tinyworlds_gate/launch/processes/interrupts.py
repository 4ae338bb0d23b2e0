"""Handle SIGTERM and SIGHUP of the harness like Ctrl-C, and defer them while child processes are being ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from tinyworlds_gate.launch.processes.end import EndedProcess

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals of a person, a scheduler or a closed terminal that end a run."""

_DEFERRED = (*ENDING, signal.SIGALRM)
"""pytest-timeout's alarm must not interrupt the ending of child processes either."""


class HarnessTerminated(KeyboardInterrupt):
    """A signal asked the harness to stop; ``signal_name`` is its name."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"the harness received {signal_name}")
        self.signal_name = signal_name


@contextmanager
def raise_on_termination() -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP raise ``HarnessTerminated`` instead of killing the process.

    Handlers installed by others stay. Outside the main thread Python allows no handlers, and nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def defer_interrupts() -> Iterator[Callable[[], None]]:
    """Context in which Ctrl-C, SIGTERM, SIGHUP and a timeout's SIGALRM are deferred.

    Deferred signals are raised at the end, and by the yielded function, at points that the caller chooses.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    pending: list[signal.Signals] = []
    previous = {number: signal.getsignal(number) for number in _DEFERRED}

    def defer(number: int, _frame: FrameType | None) -> None:
        pending.append(signal.Signals(number))

    def raise_pending() -> None:
        while pending:
            number = pending.pop(0)
            signal.signal(number, previous[number])
            try:
                signal.raise_signal(number)
            finally:
                signal.signal(number, defer)  # defer the next one while this one is handled

    for number in _DEFERRED:
        if previous[number] is not signal.SIG_IGN:
            signal.signal(number, defer)
    try:
        yield raise_pending
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        while pending:
            signal.raise_signal(pending.pop(0))


class SessionInterrupts:
    """The signals that end a whole session early.

    The first signal raises. Later ones, and all signals while the reports are being written (after ``hold``), are only
    recorded, so that the run ends in order. SIGQUIT (Ctrl-\\) and SIGKILL still end it at once. Handlers installed by
    others stay, and ignored signals stay ignored (``nohup``, a background job).
    """

    def __init__(self) -> None:
        self.came: list[str] = []
        """Names of the signals, in order."""
        self._held = False
        self._previous: dict[int, Any] = {}
        self._unraisable: Any = None

    def install(self) -> None:
        """Install the handlers; outside the main thread Python allows none, and nothing changes."""
        if threading.current_thread() is not threading.main_thread() or self._previous:
            return
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                self._previous[number] = handler
                signal.signal(number, self._on_signal)

    def hold(self) -> None:
        """Record signals from now on instead of raising."""
        self._held = True

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
        if sys.unraisablehook == self._report_unraisable:
            sys.unraisablehook = self._unraisable

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.came.append(name)
        if self._held or len(self.came) > 1:
            with suppress(OSError):  # the terminal may be gone
                os.write(2, f"\n[gate] {name}: the run is ending, its reports are being written\n".encode())
            return
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._report_unraisable
        raise KeyboardInterrupt if number == signal.SIGINT else HarnessTerminated(name)

    def _report_unraisable(self, unraisable: Any) -> None:
        """Ignore a ResourceWarning of a file that the interrupt left open; it must not fail the session."""
        if not isinstance(unraisable.exc_value, ResourceWarning):
            self._unraisable(unraisable)


def attach_ended(interrupt: BaseException | None, ended: Sequence[EndedProcess]) -> None:
    """Attach the processes that an interrupt ended to it, for the journal."""
    if isinstance(interrupt, KeyboardInterrupt):
        interrupt.ended_processes = tuple(ended)  # type: ignore[attr-defined]


def ended_by(interrupt: BaseException | None) -> tuple[EndedProcess, ...]:
    """Return the processes that ``attach_ended`` attached to an interrupt, or to an earlier one in its context."""
    while interrupt is not None:
        if (ended := getattr(interrupt, "ended_processes", None)) is not None:
            return tuple(ended)
        interrupt = interrupt.__context__
    return ()


def _raise(number: int, _frame: FrameType | None) -> None:
    raise HarnessTerminated(signal.Signals(number).name)
