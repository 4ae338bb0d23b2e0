"""Intervals over episodes keep their promise in simulation, and say so where there is none."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commands import REPOSITORY
from tests.helpers.interval_coverage import DRAWS, misses, percentile, product
from tinyworlds_gate.gate.measures import intervals
from tinyworlds_gate.gate.measures.intervals import mean_interval, ratio_interval, student_t

ALLOWED = 0.04
"""2.5 % and 1.5 points."""
SIMULATIONS = 1500
CHANCE = 0.013
"""Three standard deviations of a share of 3 % in that many simulations."""


@pytest.mark.parametrize("what", ["error", "skill"])
@pytest.mark.parametrize("episodes", sorted(DRAWS))
@pytest.mark.parametrize("shape", ["gamma", "lognormal"])
def test_each_end_misses_the_truth_in_at_most_four_percent(shape: str, episodes: int, what: str) -> None:
    assert max(misses(shape, episodes, what, product, SIMULATIONS)) <= ALLOWED + CHANCE


def test_the_simulation_finds_the_interval_of_before_too_short() -> None:
    assert max(misses("gamma", 5, "error", percentile, 500)) > 0.08


def test_the_table_of_the_page_holds_what_is_promised() -> None:
    page = (REPOSITORY / "docs" / "gate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:gamma|lognormal) \| \w+ \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \|", page, re.MULTILINE)
    assert len(rows) == 4 * len(DRAWS)
    assert all(float(end) <= 100 * ALLOWED for _, *ends in rows for end in ends)


def test_the_expansion_of_student_s_quantile_has_its_known_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.776445, 9: 2.262157, 29: 2.045230, 119: 1.980100}
    for freedom, quantile in exact.items():
        assert student_t(freedom) == pytest.approx(quantile, abs=1e-3)
    monkeypatch.setattr(intervals, "T_975", {})
    for freedom in (1, 2):
        terms = (2.3722712, 2.8224986, 2.5558498, 1.5895341)
        expected = 1.959964 + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
        assert student_t(freedom) == pytest.approx(expected, abs=1e-6)


def test_four_episodes_by_hand() -> None:
    """Equal values but one, on a log scale, from the definitions."""
    values = np.array([0.01, 0.01, 0.01, 0.04])
    left = [math.log(one) for one in (0.02, 0.02, 0.02, 0.01)]
    mean = sum(left) / 4
    deviations = [mean - one for one in left]
    squares = sum(one**2 for one in deviations)
    error, t = math.sqrt(3 / 4 * squares), student_t(3)
    centre = 4 * math.log(0.0175) - 3 * mean
    skewness = sum(one**3 for one in deviations) / (6 * squares**1.5)
    assert skewness > 0
    low, high = mean_interval(values, np.arange(4))
    assert low == pytest.approx(math.exp(centre - t * error))
    assert high == pytest.approx(math.exp(centre + t * error + error * skewness * (1 + 2 * t**2)))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=9),
    episodes=st.lists(st.integers(0, 3), min_size=9, max_size=9),
)
def test_the_interval_contains_the_mean(values: list[float], episodes: list[int]) -> None:
    low, high = mean_interval(np.array(values), np.array(episodes[: len(values)]))
    if len(set(episodes[: len(values)])) == 1:
        assert math.isnan(low)
    elif not math.isnan(low):
        assert low - 1e-9 <= np.mean(values) <= high + 1e-9


def test_clips_of_one_episode_count_as_one() -> None:
    values = np.array([0.01, 0.02, 0.03])
    assert mean_interval(np.repeat(values, 5), np.repeat(np.arange(3), 5)) == pytest.approx(
        mean_interval(values, np.arange(3))
    )


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ([1.0, math.nan], [1.0, 1.0]),
        ([1.0, math.inf], [1.0, 1.0]),
        ([1.0, 1.0], [0.0, 0.0]),
        ([1.0, 1.0], [0.0, 1.0]),
        ([0.0, 1.0], [1.0, 1.0]),
    ],
)
def test_what_is_no_number_has_no_interval(above: list[float], below: list[float]) -> None:
    assert np.isnan(ratio_interval(np.array(above), np.array(below), np.arange(2))).all()


def test_no_error_at_all_is_known_exactly_and_large_values_do_not_overflow() -> None:
    assert mean_interval(np.zeros(3), np.arange(3)) == (0.0, 0.0)
    assert np.isfinite(mean_interval(np.array([-1e299, 1e299, 2e299]), np.arange(3))).all()


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)])
def test_students_t(freedom: int, quantile: float) -> None:
    assert student_t(freedom) == pytest.approx(quantile, abs=0.002)
