"""The learning rate of each update: warm-up, cosine, the ends of the span.

pytest tests/unit/reference/training/test_schedule.py
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyworlds_gate.reference.training.schedule import FINAL_FRACTION, Schedule


def test_the_warm_up_is_linear_over_five_percent_and_reaches_the_peak() -> None:
    schedule = Schedule(2e-3, 0, 1000)
    assert schedule.warmup_updates == 50
    assert [schedule.rate_at(update) for update in (0, 24, 49)] == pytest.approx([2e-3 / 50, 1e-3, 2e-3])
    assert schedule.rate_at(50) == pytest.approx(2e-3)


def test_the_cosine_passes_its_middle_and_ends_at_one_percent() -> None:
    schedule = Schedule(1.0, 0, 1000)
    assert schedule.rate_at(525) == pytest.approx(0.505)
    assert schedule.rate_at(999) == pytest.approx(0.01, abs=1e-5)
    assert min(schedule.rate_at(update) for update in range(50, 1000)) == schedule.rate_at(999)


@pytest.mark.parametrize("length", [1, 2, 3, 19, 100])
def test_outside_its_span_the_nearest_end_holds(length: int) -> None:
    schedule = Schedule(1.0, 100, 100 + length)
    for outside in (1, 2, 100):
        assert schedule.rate_at(100 - outside) == schedule.rate_at(100)
        assert schedule.rate_at(99 + length + outside) == schedule.rate_at(99 + length)


@given(
    start=st.integers(0, 10**6),
    length=st.integers(1, 5000),
    position=st.integers(0, 5000),
    warmup=st.floats(0.0, 0.99),
)
def test_every_rate_lies_above_zero_and_at_most_at_the_peak_wherever_the_span_lies(
    start: int, length: int, position: int, warmup: float
) -> None:
    rate = Schedule(0.5, start, start + length, warmup).rate_at(start + position)
    assert 0 < rate <= 0.5
    assert rate == Schedule(0.5, 0, length, warmup).rate_at(position)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((1e-3, 5, 5), "schedule_end=5 must lie after schedule_start=5"),
        ((0.0, 0, 9), "learning_rate=0.0 must be positive"),
    ],
)
def test_an_impossible_schedule_is_refused(values: tuple[float, int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Schedule(*values)


@pytest.mark.parametrize(("start", "end"), [(0, 20), (7, 107), (0, 1000)])
def test_every_rate_is_that_of_the_stated_formula(start: int, end: int) -> None:
    """Linear to the peak over the warm-up, then a half cosine that would reach one percent at the end."""
    schedule = Schedule(3.0, start, end, 0.1)
    warmup, span = (end - start) // 10, end - start
    for position in range(span):
        progress = (position - warmup) / (span - warmup)
        cosine = FINAL_FRACTION + (1 - FINAL_FRACTION) * (1 + math.cos(math.pi * progress)) / 2
        expected = 3.0 * ((position + 1) / warmup if position < warmup else cosine)
        assert schedule.rate_at(start + position) == pytest.approx(expected, rel=1e-12)
    assert schedule.rate_at(start + warmup) == 3.0


@pytest.mark.parametrize(("length", "fraction", "updates"), [(1, 0.05, 1), (19, 0.05, 1), (40, 0.05, 2), (40, 0.0, 1)])
def test_a_warm_up_has_at_least_one_update(length: int, fraction: float, updates: int) -> None:
    schedule = Schedule(1.0, 100, 100 + length, fraction)
    assert schedule.warmup_updates == updates
    assert schedule.rate_at(100 + updates - 1) == 1.0


def test_a_schedule_is_saved_as_the_values_it_was_made_of() -> None:
    assert Schedule(**Schedule(1e-3, 5, 9, 0.5).state_dict()) == Schedule(1e-3, 5, 9, 0.5)  # type: ignore[arg-type]
