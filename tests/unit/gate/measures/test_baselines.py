"""Predictions that need no model: their errors, the weights of the blend, and what is said where nothing is known."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.gate_evidence import clip
from tests.unit.gate.measures.test_clip_facts import CONTEXT, STEPS, frames_file, measured
from tinyworlds_gate.gate.measures.baselines import (
    BEST_BLEND,
    BLEND,
    BY_REGION,
    BY_STEP,
    CONTEXT_MEAN,
    EXTRAPOLATION,
    FADED,
    LAST,
    MEAN_FRAME,
    OTHERS_MEAN,
    REGIONS,
    TRANSLATED,
    UNKNOWN,
    WHOLE,
    TrainingFrames,
    baselines,
    best_weights,
    error_products,
)
from tinyworlds_gate.gate.measures.clip_facts import clip_facts
from tinyworlds_gate.gate.measures.summary import summarise
from tinyworlds_gate.power.world import play

__all__ = ["clip", "frames_file"]

SIDE, LENGTH = 4, 6
RNG = np.random.default_rng(0)


def noise_file(path: Path, episodes: int = 12) -> np.ndarray:
    """Write frames of pure noise around a fixed picture, and return them [episodes, LENGTH, SIDE, SIDE, 3]."""
    picture = RNG.integers(60, 200, (SIDE, SIDE, 3))
    frames = (picture + RNG.integers(-40, 41, (episodes, LENGTH, SIDE, SIDE, 3))).astype(np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames.reshape(-1, SIDE, SIDE, 3))
        file.create_dataset("episode", data=np.repeat(np.arange(episodes), LENGTH))
    return frames


def mse(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    error: np.ndarray = np.square((predicted - true.astype(float)) / 255).mean(axis=(2, 3, 4))
    return error


@pytest.mark.requirement("G8")
def test_every_prediction_has_the_error_that_its_definition_gives(tmp_path: Path) -> None:
    frames = noise_file(tmp_path / "f.h5")
    context, true = frames[8:, :3], frames[8:, 3:]
    found = baselines(context, true, np.arange(4), TrainingFrames(tmp_path / "f.h5", tuple(range(8)), 1))
    mean = frames[:8].reshape(-1, SIDE, SIDE, 3).mean(axis=0)
    expected = {LAST: context[:, -1:], CONTEXT_MEAN: context.mean(axis=1, keepdims=True), MEAN_FRAME: mean[None, None]}
    for name, predicted in expected.items():
        np.testing.assert_allclose(found.mse_BS[name], mse(predicted, true))
    for step, weights in enumerate(found.weights):
        assert min(weights.values()) >= 0
        assert sum(weights.values()) == pytest.approx(1)
        blended = sum(weights[name] * expected[name] for name in expected)
        np.testing.assert_allclose(found.mse_BS[BLEND][:, step], mse(blended, true)[:, step])
        assert weights[MEAN_FRAME] > 0.8  # noise around one picture: nothing of the context helps
    assert found.mse_BS[found.strongest].mean() == min(one.mean() for one in found.mse_BS.values())
    assert found.mean_frame_mse_BS is not None
    np.testing.assert_allclose(found.mean_frame_mse_BS, found.mse_BS[MEAN_FRAME])


@pytest.mark.requirement("G8")
def test_the_weights_are_fitted_on_training_clips_and_not_on_the_measured_ones(tmp_path: Path) -> None:
    frames = noise_file(tmp_path / "f.h5")
    training = TrainingFrames(tmp_path / "f.h5", tuple(range(8)), 1)
    found = baselines(frames[8:, :3], frames[8:, 3:], np.arange(4), training)
    other = baselines(frames[8:, :3], frames[8:, 2:5], np.arange(4), training)
    assert found.weights == other.weights
    assert found.note == "weights by step, fitted on 8 training clips"


@pytest.mark.requirement("G8")
@pytest.mark.parametrize("trained", [None, False])
def test_without_training_frames_the_mean_frame_is_that_of_the_other_episodes(
    tmp_path: Path, trained: bool | None
) -> None:
    frames = noise_file(tmp_path / "f.h5")
    context, true, episodes = frames[:, :3], frames[:, 3:], np.arange(12) // 2
    training = None if trained is None else TrainingFrames(tmp_path / "f.h5", (0, 1), 1, trained=trained)
    found = baselines(context, true, episodes, training)
    single = {LAST, CONTEXT_MEAN, OTHERS_MEAN, EXTRAPOLATION, TRANSLATED, FADED}
    assert set(found.mse_BS) == single | {BLEND, BEST_BLEND, WHOLE, REGIONS}
    assert found.note == UNKNOWN
    blended = (context[:, -1:] + context.mean(axis=1, keepdims=True)) / 2
    np.testing.assert_allclose(found.mse_BS[BLEND], mse(blended, true))
    means = np.stack([true[episodes != own].mean(axis=(0, 1)) for own in episodes])[:, None]
    np.testing.assert_allclose(found.mse_BS[OTHERS_MEAN], mse(means, true))
    assert (found.mean_frame_mse_BS is None) == (training is None)


@pytest.mark.requirement("G8")
def test_one_episode_has_no_other_and_its_own_true_frames_are_not_used() -> None:
    frames = RNG.integers(0, 256, (3, LENGTH, SIDE, SIDE, 3)).astype(np.uint8)
    found = baselines(frames[:, :3], frames[:, 3:], np.zeros(3, int), None)
    assert not {OTHERS_MEAN, WHOLE, REGIONS} & set(found.mse_BS)


@pytest.mark.requirement("G8")
def test_no_weights_of_last_frame_context_mean_and_mean_frame_are_better_than_the_best_blend() -> None:
    frames = play(0, episodes=30)[0]
    context, true, episodes = frames[:, :3], frames[:, 3:], np.arange(30)
    found = baselines(context, true, episodes, None).mse_BS[BEST_BLEND].mean()
    means = np.stack([true[episodes != own].mean(axis=(0, 1)) for own in episodes])[:, None]
    for first, second in RNG.dirichlet(np.ones(3), 50)[:, :2]:
        blend = first * context[:, -1:] + second * context.mean(axis=1, keepdims=True) + (1 - first - second) * means
        assert mse(blend, true).mean() >= found


def test_the_best_weights_are_those_of_a_fine_grid() -> None:
    for _ in range(20):
        errors = RNG.normal(size=(3, 50)) * RNG.uniform(0.2, 3, (3, 1)) + RNG.normal(size=50)
        products = errors @ errors.T / 50
        steps = np.linspace(0, 1, 101)
        grid = [np.array([a, b, 1 - a - b]) for a in steps for b in steps if a + b <= 1 + 1e-9]
        best = min(float(one @ products @ one) for one in grid)
        found = best_weights(products)
        assert found.min() >= 0
        assert found.sum() == pytest.approx(1)
        assert float(found @ products @ found) <= best + 1e-12


def test_equal_predictions_and_perfect_ones_have_weights_too() -> None:
    """One context frame: last frame and context mean are the same; a still clip: their error is zero."""
    frames = RNG.integers(0, 256, (2, 3, SIDE, SIDE, 3)).astype(np.uint8)
    for products in (error_products(frames[:, :1], frames[:, 1:]), np.zeros((2, 2, 2, 2))):
        weights = best_weights(products.sum(axis=(0, 1)))
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= 0


@pytest.mark.requirement("G8")
def test_the_measures_state_the_skill_against_the_strongest(frames_file: Path) -> None:
    content = measured(frames_file)
    facts = clip_facts(content, frames_file.parent)
    found = summarise(content, facts)
    strongest = facts.baselines.mse_BS[facts.baselines.strongest]
    assert found.strongest_baseline == facts.baselines.strongest
    assert found.strongest_baseline_mse == pytest.approx(strongest.mean())
    assert found.skill_strongest == pytest.approx(1 - found.mse / strongest.mean())
    assert found.strongest_baseline_mse_by_step == pytest.approx(strongest.mean(axis=0).tolist())
    assert found.baseline_mse is not None
    assert min(found.baseline_mse.values()) == pytest.approx(found.strongest_baseline_mse)
    assert str(found.strongest_baseline_meaning).startswith(str(found.strongest_baseline))
    assert found.blend_mse_by_step == pytest.approx(facts.baselines.mse_BS[BLEND].mean(axis=0).tolist())
    assert len(found.blend_weights or []) == STEPS
    assert found.context == CONTEXT


@pytest.mark.requirement("G8")
def test_half_last_frame_and_half_context_mean_has_no_skill_against_the_strongest(frames_file: Path) -> None:
    content = measured(frames_file)
    facts = clip_facts(content, frames_file.parent)
    for one, errors in zip(content["clips"], facts.baselines.mse_BS[BLEND], strict=True):
        one["rollout_mse"] = errors.tolist()
    found = summarise(content, facts)
    assert found.skill_strongest is not None
    assert found.skill_strongest <= 1e-12


@pytest.mark.requirement("G8")
def test_the_blends_say_how_fine_their_weights_are() -> None:
    assert BY_STEP == "with weights for each step"
    assert BY_REGION == "with weights for each step and each of 8 x 8 regions"
