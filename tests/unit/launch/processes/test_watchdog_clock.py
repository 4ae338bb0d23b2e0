"""The watchdog's clock does not count pauses of the harness.

pytest tests/unit/launch/processes/test_watchdog_clock.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.launch.processes.watchdog_clock import MAX_TICK_S, WatchdogClock


def ticks(*moments: float) -> list[float]:
    """Return the clock's readings at these moments; it is created at the first one."""
    times = iter(moments)
    clock = WatchdogClock(lambda: next(times))
    return [clock.tick() for _ in moments[1:]]


def test_ticks_add_up() -> None:
    assert ticks(100.0, 100.1, 100.3, 100.8) == pytest.approx([0.1, 0.3, 0.8])


def test_a_pause_counts_as_one_maximal_tick() -> None:
    assert ticks(100.0, 100.5, 3700.0, 3700.5) == pytest.approx([0.5, 0.5 + MAX_TICK_S, 1.0 + MAX_TICK_S])


def test_time_advances_when_every_tick_is_slow() -> None:
    assert ticks(0.0, 10.0, 20.0, 30.0)[-1] == pytest.approx(3 * MAX_TICK_S)


def test_time_never_runs_backwards() -> None:
    assert ticks(100.0, 90.0, 90.5) == pytest.approx([0.0, 0.5])
