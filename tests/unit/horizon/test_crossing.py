"""The horizon and its interval from curves that are written down, and the choice of long clips."""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.horizon.crossing import Curve, Horizon, best_reference, usable_horizon
from tinyworlds_gate.horizon.long_clips import long_clips


def horizon(model: np.ndarray, reference: np.ndarray, **changes: object) -> Horizon:
    facts: dict[str, object] = {"higher": False, "judged": np.ones(model.shape[1], bool)} | changes
    references = {"none": Curve.mean(reference)}
    return usable_horizon(Curve.mean(model), references, np.arange(len(model)), **facts)  # type: ignore[arg-type]


def test_the_interval_spans_the_steps_at_which_episodes_fall() -> None:
    falls_at = np.repeat([4, 8, 12], 10)
    steps = np.arange(1, 17)
    model = np.where(steps >= falls_at[:, None], 1.0, 0.0)
    found = horizon(model, np.full(model.shape, 0.5))
    assert found.step == 8
    assert found.low is not None
    assert found.high is not None
    assert 4 <= found.low <= 8 <= found.high <= 12
    assert found.low < found.high


def test_a_model_that_recovers_falls_all_the_same_and_the_steps_are_listed() -> None:
    model = np.broadcast_to(np.array([0.1, 0.9, 0.1, 0.1, 0.9]), (6, 5))
    found = horizon(model, np.full((6, 5), 0.5))
    assert (found.step, found.better) == (2, ((1, 1), (3, 4)))


def test_equal_errors_are_no_better() -> None:
    assert horizon(np.full((4, 3), 0.5), np.full((4, 3), 0.5)).step == 1


def test_a_share_of_one_is_never_worse_and_steps_that_are_not_judged_do_not_count() -> None:
    whole = np.ones((4, 3))
    assert horizon(whole, whole, higher=True).step is None
    half = np.full((4, 3), 0.5)
    assert horizon(half, whole, higher=True, judged=np.array([False, True, True])).step == 2


def test_the_best_reference_differs_from_step_to_step_and_may_be_unknown() -> None:
    curves = {
        "a": Curve(np.array([[1.0, 4.0, 0.0]]), np.array([[1.0, 1.0, 0.0]])),
        "b": Curve(np.array([[2.0, 3.0, 0.0]]), np.array([[1.0, 1.0, 0.0]])),
    }
    values, names = best_reference(curves, higher=False)
    assert values[:2].tolist() == [1.0, 3.0]
    assert names == ["a", "b", ""]


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    model, reference = rng.uniform(0, 1, (12, 9)), rng.uniform(0.3, 1, (12, 9))
    assert horizon(model, reference) == horizon(model, reference)


def test_short_episodes_shorten_the_rollouts_and_the_note_says_so() -> None:
    episode = np.repeat(np.arange(6), [70, 70, 40, 40, 40, 40])
    found = long_clips(episode, range(6), context=3, steps=64, count=10, seed=0)
    assert found.steps == 37
    assert found.note is not None
    assert found.note.startswith("37 steps instead of 64: only 2 of 6 episodes have the 67 frames")
    assert len(np.unique(found.episodes)) == 6
    enough = long_clips(np.repeat(np.arange(6), 67), range(6), context=3, steps=64, count=10, seed=0)
    assert (enough.steps, enough.note, len(enough.starts)) == (64, None, 6)


def test_episodes_without_room_for_a_step_are_refused() -> None:
    with pytest.raises(DataError, match="the longest episodes have 3 frames; 3 context frames and at least one step"):
        long_clips(np.repeat(np.arange(6), 3), range(6), context=3, steps=64, count=10, seed=0)
