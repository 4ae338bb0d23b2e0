"""The watchdog's clock counts the time in which the harness looked on, not the time in which it stood still.

pytest tests/unit/launch/processes/test_awake.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.launch.processes.awake import LONGEST_LOOK_S, AwakeClock


def ticks(*moments: float) -> list[float]:
    """What the clock shows when it is looked at at these moments; the first one makes it."""
    times = iter(moments)
    clock = AwakeClock(lambda: next(times))
    return [clock.tick() for _ in moments[1:]]


def test_looks_in_a_row_add_up() -> None:
    assert ticks(100.0, 100.1, 100.3, 100.8) == pytest.approx([0.1, 0.3, 0.8])


def test_a_pause_counts_as_one_long_look() -> None:
    assert ticks(100.0, 100.5, 3700.0, 3700.5) == pytest.approx([0.5, 0.5 + LONGEST_LOOK_S, 1.0 + LONGEST_LOOK_S])


def test_looks_that_are_always_slow_still_pass_time() -> None:
    assert ticks(0.0, 10.0, 20.0, 30.0)[-1] == pytest.approx(3 * LONGEST_LOOK_S)


def test_time_never_runs_backwards() -> None:
    assert ticks(100.0, 90.0, 90.5) == pytest.approx([0.0, 0.5])
