"""SIGTERM and SIGHUP of the harness arrive like Ctrl-C, and wait while children are being ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    ours = [number for number in _ALL if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Inside, Ctrl-C, SIGTERM and SIGHUP are held back; one that came is raised at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous = {number: signal.getsignal(number) for number in _ALL}
    for number in _ALL:
        if previous[number] is not signal.SIG_IGN:
            signal.signal(number, lambda got, _frame: came.append(got))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _raise(number: int, _frame: FrameType | None) -> None:
    raise HarnessTerminated(signal.Signals(number).name)
