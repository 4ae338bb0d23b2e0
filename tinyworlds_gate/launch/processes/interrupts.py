"""SIGTERM and SIGHUP of the harness arrive like Ctrl-C, and wait while children are being ended."""

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
"""What a person, a scheduler or a closed terminal sends to end a run."""

_HELD = (*ENDING, signal.SIGALRM)
"""pytest-timeout's alarm too must not break off the ending of children."""


class HarnessTerminated(KeyboardInterrupt):
    """The harness was told to stop by a signal; ``signal_name`` says which."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"the harness received {signal_name}")
        self.signal_name = signal_name


@contextmanager
def termination_raises() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise ``HarnessTerminated`` where they would have killed the process at once.

    A handler that someone else installed stays; outside the main thread Python allows none and nothing changes.
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
def interrupts_wait() -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C, SIGTERM, SIGHUP and the alarm of a timeout are held back: no line is broken off half done.

    What came is raised at the end, and by the function that this yields, at a point that the caller chooses.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[signal.Signals] = []
    previous = {number: signal.getsignal(number) for number in _HELD}

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(signal.Signals(number))

    def raise_what_came() -> None:
        while came:
            number = came.pop(0)
            signal.signal(number, previous[number])
            try:
                signal.raise_signal(number)
            finally:
                signal.signal(number, hold)  # the next one waits again, while what this one ended winds down

    for number in _HELD:
        if previous[number] is not signal.SIG_IGN:
            signal.signal(number, hold)
    try:
        yield raise_what_came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        while came:
            signal.raise_signal(came.pop(0))


class SessionInterrupts:
    """The signals that end a whole session early.

    The first raises where the session stands; the ones after it, and all that come once the reports are being written
    (``hold``), are only noted, so that the run winds down in order. SIGQUIT (Ctrl-\\) and SIGKILL still end it at once.
    Handlers that someone else installed stay, and what is ignored stays ignored (``nohup``, a job in the background).
    """

    def __init__(self) -> None:
        self.came: list[str] = []
        """Names of the signals, in order."""
        self._held = False
        self._previous: dict[int, Any] = {}
        self._unraisable: Any = None

    def install(self) -> None:
        """Take the signals over; outside the main thread Python allows none and nothing changes."""
        if threading.current_thread() is not threading.main_thread() or self._previous:
            return
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                self._previous[number] = handler
                signal.signal(number, self._on_signal)

    def hold(self) -> None:
        """From now on no signal raises."""
        self._held = True

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
        if sys.unraisablehook == self._tell_unraisable:
            sys.unraisablehook = self._unraisable

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.came.append(name)
        if self._held or len(self.came) > 1:
            with suppress(OSError):  # the terminal may be gone
                os.write(2, f"\n[gate] {name}: the run is ending, its reports are being written\n".encode())
            return
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._tell_unraisable
        raise KeyboardInterrupt if number == signal.SIGINT else HarnessTerminated(name)

    def _tell_unraisable(self, unraisable: Any) -> None:
        """A file that the interrupt caught between its opening and its ``with`` is no defect that fails the session."""
        if not isinstance(unraisable.exc_value, ResourceWarning):
            self._unraisable(unraisable)


def note_ended(interrupt: BaseException | None, ended: Sequence[EndedProcess]) -> None:
    """Let an interrupt carry what was ended because of it, for the journal."""
    if isinstance(interrupt, KeyboardInterrupt):
        interrupt.ended_processes = tuple(ended)  # type: ignore[attr-defined]


def ended_by(interrupt: BaseException | None) -> tuple[EndedProcess, ...]:
    """What ``note_ended`` wrote on an interrupt or on one that came before it."""
    while interrupt is not None:
        if (ended := getattr(interrupt, "ended_processes", None)) is not None:
            return tuple(ended)
        interrupt = interrupt.__context__
    return ()


def _raise(number: int, _frame: FrameType | None) -> None:
    raise HarnessTerminated(signal.Signals(number).name)
