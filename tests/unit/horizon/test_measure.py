"""Long rollouts of stand-in models whose answer is known.

python -m pytest tests/unit/horizon
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from tests.helpers.long_games import decayed, long_clips
from tinyworlds_gate.horizon.drift import drift
from tinyworlds_gate.horizon.measure import measure_frames
from tinyworlds_gate.horizon.object_curves import object_curves, object_tables
from tinyworlds_gate.horizon.sentences import horizon_text, sentences

STEPS = 10


@lru_cache(maxsize=4)
def measured(step: int | None) -> dict[str, Any]:
    """Return the record of the true frames themselves, or of frames that are noise from a step on."""
    context, true = long_clips(clips=6, steps=STEPS)
    generated = true if step is None else decayed(true, step)
    return measure_frames(context, true, generated, np.arange(len(true)), None)


def test_a_perfect_simulator_is_never_as_bad_as_no_model() -> None:
    found = measured(None)
    assert found["horizon"]["censored"]
    assert found["horizon"]["interval"] == [None, None]
    assert found["horizon"]["better_at_steps"] == [[1, STEPS]]
    assert found["error"]["by_step"] == [0.0] * STEPS
    objects = found["objects"]
    assert objects["no_occasion"] is None or objects["horizon"] is None
    assert f"beyond {STEPS}" in horizon_text(found["horizon"])


@pytest.mark.parametrize("step", [1, 6, STEPS])
def test_a_model_that_decays_at_a_step_is_usable_up_to_it(step: int) -> None:
    found = measured(step)["horizon"]
    assert found["step"] == step
    assert found["interval"] == [step, step]
    assert found["better_at_steps"] == ([] if step == 1 else [[1, step - 1]])


def test_the_strongest_prediction_is_chosen_at_each_step() -> None:
    error = measured(None)["error"]
    assert (np.array(error["strongest_by_step"]) <= np.array(error["copy_last_by_step"]) + 1e-12).all()
    assert len(set(error["strongest"])) >= 2, "near the context another one is best than far from it"


def test_objects_are_found_until_the_frames_decay_and_no_reference_finds_as_many() -> None:
    context, true = long_clips(clips=32, steps=5)
    episodes = np.arange(32)
    whole = object_curves(object_tables(context, true, true), episodes)
    assert whole["no_occasion"] is None
    assert whole["recall"]["by_step"] == [1.0] * 5
    assert whole["precision"]["by_step"] == [1.0] * 5
    assert whole["horizon"]["censored"]
    assert min(whole["recall"]["reference_by_step"][2:]) < 0.95
    assert max(whole["recall"]["reference_by_step"]) <= 1
    late = object_curves(object_tables(context, true, decayed(true, 4)), episodes)
    assert late["horizon"]["step"] == 4
    assert late["recall"]["by_step"][:3] == [1.0] * 3
    assert max(late["recall"]["by_step"][3:]) < 0.5


def test_drift_of_the_true_frames_is_none_and_a_still_blurred_picture_shows() -> None:
    context, true = long_clips(steps=6)
    episodes = np.arange(len(true))
    same = drift(context, true, true, episodes)
    assert same["sharpness"]["by_step"] == pytest.approx([1.0] * 6)
    assert same["motion"]["by_step"] == pytest.approx([1.0] * 6)
    assert same["colour_distance"]["by_step"] == [0.0] * 6
    grey = np.broadcast_to(true.mean(axis=(2, 3), keepdims=True).astype(np.uint8)[:, :1], true.shape)
    other = drift(context, true, grey, episodes)
    assert max(other["sharpness"]["by_step"]) == 0
    assert max(other["motion"]["by_step"][1:]) == 0
    assert min(other["colour_distance"]["by_step"]) > max(other["colour_distance"]["copy_last_by_step"])


def test_a_shift_of_all_colours_is_as_many_levels_of_distance() -> None:
    context, true = long_clips(steps=2)
    shifted = (true + 5).astype(np.uint8)
    found = drift(context, true, shifted, np.arange(len(true)))["colour_distance"]
    assert found["by_step"] == pytest.approx([5.0, 5.0])


def test_the_sentences_name_horizon_objects_and_drift() -> None:
    said = sentences(measured(6))
    assert "usable horizon 6, the first step at which the model is no better" in said[0]
    assert "it is better at steps 1 to 5" in said[0]
    assert said[1].startswith("Objects: ")
    assert said[2].startswith(f"Drift at step {STEPS}: sharpness ")


def test_one_episode_has_no_interval() -> None:
    context, true = long_clips(clips=3, steps=4)
    found = measure_frames(context, true, decayed(true, 3), np.zeros(3, int), None)["horizon"]
    assert found["step"] == 3
    assert found["interval"] is None
