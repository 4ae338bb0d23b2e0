"""Sums by episode, resampled means, and the interval of samples.

pytest tests/unit/gate/measures/test_bootstrap.py
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.bootstrap import LEVEL, RESAMPLES, episode_sums, interval, resampled_means

EPISODES = np.array([7, 3, 7, 7])


def test_values_are_summed_by_episode() -> None:
    sums, counts = episode_sums({"a": np.array([1.0, 2.0, 4.0, 8.0])}, EPISODES)
    assert (sums["a"].tolist(), counts.tolist()) == ([2.0, 13.0], [1.0, 3.0])


def test_all_names_are_resampled_by_the_same_draw_of_a_seed() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    found = resampled_means({"a": values, "b": 2 * values + 1}, EPISODES, seed=5)
    assert len(found["a"]) == RESAMPLES == 2000
    np.testing.assert_allclose(found["b"], 2 * found["a"] + 1)
    assert set(np.round(found["a"], 6)) == {2.0, 3.75, round(13 / 3, 6)}, "2 + 2, 2 + 13 and 13 + 13, over their clips"
    again = resampled_means({"a": values}, EPISODES, seed=5, resamples=2000)
    np.testing.assert_array_equal(again["a"], found["a"])
    assert not np.array_equal(resampled_means({"a": values}, EPISODES, seed=6)["a"], found["a"])


def test_the_interval_leaves_out_the_same_share_at_both_ends() -> None:
    samples = np.arange(1001.0)
    assert LEVEL == 0.95
    assert interval(samples) == pytest.approx((25.0, 975.0))
    assert interval(samples, 0.5) == pytest.approx((250.0, 750.0))
    for wrong in (math.nan, math.inf):
        assert all(math.isnan(end) for end in interval(np.append(samples, wrong)))
