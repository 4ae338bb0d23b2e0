"""Counts and rates of the objects, at the smallest number of sightings and episodes that is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.measure import LEAST_EPISODES, LEAST_SIGHTINGS, measure_objects

CONTEXT, SIZE, SIDE = 3, 32, 4
CLIPS = 5
STEPS = LEAST_SIGHTINGS // CLIPS
RED, WHITE = (230, 60, 60), (250, 250, 250)


def frames(*, gone: int = 0, colour: tuple[int, int, int] = RED, clips: int = CLIPS) -> np.ndarray:
    """Return clips with one square each that moves two pixels a frame; it is not in the last ``gone`` frames of one."""
    drawn = np.full((clips, CONTEXT + STEPS, SIZE, SIZE, 3), 110, np.uint8)
    for clip in range(clips):
        for time in range(CONTEXT + STEPS - (gone if clip == 0 else 0)):
            left, top = 4 + 2 * time, 6 + 3 * (clip % CLIPS)
            drawn[clip, time, top : top + SIDE, left : left + SIDE] = RED if time < CONTEXT else colour
    return drawn


def measured(true: np.ndarray, made: np.ndarray, episodes: np.ndarray | None = None) -> dict[str, Any]:
    episodes = np.arange(len(true)) if episodes is None else episodes
    return measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], episodes)


def test_thirty_moved_sightings_in_five_episodes_are_enough_and_no_fewer() -> None:
    true = frames()
    enough = measured(true, true)
    assert (enough["moved_sightings"], enough["episodes"]) == (LEAST_SIGHTINGS, LEAST_EPISODES)
    assert enough["no_occasion"] is None
    (kind,) = enough["kinds"]
    assert (kind["sightings"], kind["recall"]) == (LEAST_SIGHTINGS, 1.0)
    fewer = frames(gone=1)
    found = measured(fewer, fewer)
    assert found["no_occasion"].startswith("the true frames show 29 small objects, 29 of them moved")
    assert found["kinds"] == []
    alike = measured(true, true, np.array([0, 1, 2, 3, 3]))
    assert "in 4 episodes" in alike["no_occasion"]
    assert alike["kinds"] == []


def test_a_third_of_the_rollout_has_a_rate_from_thirty_sightings() -> None:
    true = frames(clips=3 * CLIPS)
    assert measured(true, true)["recall_by_part"] == [1.0] * 3
    fewer = frames(clips=3 * CLIPS, gone=1)
    assert measured(fewer, fewer)["recall_by_part"] == [1.0, 1.0, None]


def test_the_rates_are_shares_of_sightings_and_the_mistakes_their_counts() -> None:
    true = frames()
    lost = measured(true, frames(gone=3))
    assert lost["recall"] == lost["moved_recall"] == pytest.approx(27 / 30)
    assert lost["precision"] == lost["kind"] == 1.0
    assert 0 < lost["recall_low"] < lost["recall"] < lost["recall_high"] <= 1
    assert lost["recall_by_step"] == pytest.approx([1, 1, 1, 0.8, 0.8, 0.8])
    assert lost["kind_by_step"] == lost["precision_by_step"] == [1.0] * STEPS
    assert lost["mistakes"] == {"missing": 3, "displaced": 0, "replaced": 0, "extra": 0, "left_behind": 0}
    other = measured(true, frames(colour=WHITE))
    assert other["recall"] == other["precision"] == other["kind"] == 0.0
    assert other["mistakes"] == {"missing": 0, "displaced": 0, "replaced": 30, "extra": 30, "left_behind": 0}


def test_the_place_is_a_share_of_the_frame() -> None:
    true = frames()
    made = true.copy()
    made[:, CONTEXT:] = np.roll(true[:, CONTEXT:], 4, axis=2)
    found = measured(true, made)
    assert found["mistakes"]["displaced"] == LEAST_SIGHTINGS
    assert found["place_error"] == pytest.approx(4 / SIZE, abs=0.5 / SIZE)
    assert found["place_error_by_step"] == pytest.approx([4 / SIZE] * STEPS, abs=0.5 / SIZE)
