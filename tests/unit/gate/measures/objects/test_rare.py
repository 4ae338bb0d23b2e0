"""The bound on the share of rare events, and what counts as having one."""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.rare import rare_share, upper_end


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("hits", "trials", "bound"), [(0, 5, 0.4507), (1, 8, 0.4707), (5, 5, 1.0), (0, 1, 0.95)])
def test_the_bound_is_that_of_clopper_and_pearson(hits: int, trials: int, bound: float) -> None:
    assert upper_end(hits, trials) == pytest.approx(bound, abs=1e-4)


def test_an_event_in_its_place_counts_and_so_does_one_elsewhere_in_time() -> None:
    clip, none = np.arange(10), np.zeros(10, bool)
    episodes = np.arange(10)
    lost = rare_share(clip, none, np.zeros(0, int), episodes)
    assert (lost["events"], lost["episodes"], lost["found"], lost["generated"]) == (10, 10, 0, 0)
    assert lost["high"] == pytest.approx(0.2589, abs=1e-4)
    assert rare_share(clip, ~none, np.zeros(0, int), episodes)["high"] == 1.0
    assert rare_share(clip, none, clip, episodes)["high"] == 1.0


def test_clips_of_one_episode_are_one_trial() -> None:
    clip, none = np.arange(10), np.zeros(10, bool)
    assert rare_share(clip, none, np.zeros(0, int), clip // 2)["high"] == pytest.approx(0.4507, abs=1e-4)
