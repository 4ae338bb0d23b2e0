"""A watchdog clock that does not count pauses of the harness itself."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_TICK_S = 1.0


class WatchdogClock:
    """Seconds in which this process ran, since its creation.

    A stopped harness (SIGSTOP, Ctrl-Z, a frozen virtual machine) observes no progress, and its workers may be stopped
    with it. So the time between two ticks counts for at most ``MAX_TICK_S``, and a pause is never taken for a hang.
    ``clock`` must be monotonic: changes of the wall clock have no effect.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._elapsed_s = 0.0

    def tick(self) -> float:
        """Read the clock; return the elapsed seconds so far."""
        now = self._clock()
        self._elapsed_s += min(max(0.0, now - self._last), MAX_TICK_S)
        self._last = now
        return self._elapsed_s
