"""A clock for watchdogs that does not count the time in which the harness itself stood still."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_LOOK_S = 1.0


class AwakeClock:
    """Seconds in which this process looked on, from its creation.

    A harness that was stopped (SIGSTOP, Ctrl-Z, a frozen virtual machine) could not see its workers move, and they may
    have stood still with it: a pause between two looks counts for ``LONGEST_LOOK_S`` at most, so that nobody is taken
    for hanging because of it. ``clock`` is a monotonic one, which a stepped wall clock does not move.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._awake_s = 0.0

    def tick(self) -> float:
        """Look at the clock; returns the awake seconds so far."""
        now = self._clock()
        self._awake_s += min(max(0.0, now - self._last), LONGEST_LOOK_S)
        self._last = now
        return self._awake_s
