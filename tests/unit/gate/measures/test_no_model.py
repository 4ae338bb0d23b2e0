"""Predictors that need no model do not beat the strongest baseline (G8), and a model that knows more does."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.no_model_predictors import predictors, skill
from tinyworlds_gate.gate.measures.baselines import Baselines, TrainingFrames, baselines
from tinyworlds_gate.power.world import COLOURS, TILE_PX, TILES, play

pytestmark = pytest.mark.requirement("G8")

CONTEXT, STEPS, SIDE = 3, 5, TILES * TILE_PX
AFTER = np.arange(1, STEPS + 1)[None, :, None, None, None]


def lower_end(predicted: np.ndarray, true: np.ndarray, found: Baselines) -> float:
    """The lower end of G8's skill."""
    return skill(predicted, true, np.arange(len(true)), found)[1]


def test_no_predictor_without_a_model_passes_in_the_lamp_world() -> None:
    frames = play(5, episodes=120)[0][:, : CONTEXT + STEPS]
    context, true = frames[:60, :CONTEXT], frames[:60, CONTEXT:]
    found = baselines(context, true, np.arange(60), None)
    made = predictors(context, STEPS, frames[60:].mean(axis=(0, 1)))
    assert {name for name, one in made.items() if lower_end(one, true, found) > 0} == set()
    assert len(made) > 20


def half_lit(episodes: int) -> np.ndarray:
    """Return rooms whose left half keeps its light during an episode, while that of the right half is random."""
    rng = np.random.default_rng(0)
    length = CONTEXT + STEPS
    tiles = rng.integers(2, size=(episodes, 1, TILES, TILES)).repeat(length, axis=1)
    lights = rng.integers(len(COLOURS), size=(episodes, length, 1, 1)).repeat(TILES, 2).repeat(TILES, 3)
    lights[..., : TILES // 2] = rng.integers(len(COLOURS), size=(episodes, 1, 1, 1))
    return COLOURS[lights, tiles].repeat(TILE_PX, axis=2).repeat(TILE_PX, axis=3)


@pytest.mark.parametrize("known", [True, False], ids=["training frames known", "frames alone"])
def test_a_blend_that_differs_between_regions_does_not_pass(known: bool, tmp_path: Path) -> None:
    frames = half_lit(120)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["frames"] = frames.reshape(-1, SIDE, SIDE, 3)
        file["episode"] = np.repeat(np.arange(len(frames)), CONTEXT + STEPS)
    measured, training = frames[:60], TrainingFrames(tmp_path / "f.h5", tuple(range(60, 120)), 1)
    context, true = measured[:, :CONTEXT], measured[:, CONTEXT:]
    found = baselines(context, true, np.arange(60), training if known else None)
    blend = np.repeat(context[:, -1:].astype(float), STEPS, axis=1)
    right = np.s_[..., SIDE // 2 :, :]
    blend[right] = 0.35 * context.mean(axis=1, keepdims=True)[right] + 0.65 * COLOURS.mean(axis=(0, 1))
    assert lower_end(blend, true, found) <= 0
    error = np.square((blend - true) / 255).mean()
    assert error < 0.95 * found.mse_BS["blend"].mean(), "one blend for the whole picture is weaker"
    lights = true.copy()
    lights[:, -1] = context[:, -1]
    assert lower_end(lights, true, found) > 0.5, "a model that knows the lights of most frames"


def fading(factor: bool) -> np.ndarray:
    """Return clips whose light changes by the same amount, or the same factor, at every step."""
    rng = np.random.default_rng(1)
    picture, change = rng.integers(70, 150, (60, 1, SIDE, SIDE, 3)), rng.uniform(-5, 5, (60, 1, 1, 1, 1))
    step = np.arange(CONTEXT + STEPS)[None, :, None, None, None]
    frames = picture * (1 + change / 60) ** step if factor else picture + change * step
    return np.rint(frames.clip(0, 255)).astype(np.uint8)


@pytest.mark.parametrize("damping", [1.0, 0.9])
@pytest.mark.parametrize("factor", [False, True])
def test_an_extrapolated_light_does_not_pass(factor: bool, damping: float) -> None:
    frames = fading(factor)
    context, true = frames[:, :CONTEXT], frames[:, CONTEXT:]
    found = baselines(context, true, np.arange(60), None)
    last, first = context[:, -1:].astype(float), context[:, :1].astype(float)
    by_pixel = last + damping * (last - first) / (CONTEXT - 1) * AFTER
    by_picture = last + damping * ((last - first) / (CONTEXT - 1)).mean(axis=(2, 3, 4), keepdims=True) * AFTER
    for blend in (by_pixel, by_picture):
        assert lower_end(blend, true, found) <= 0


def scrolling() -> np.ndarray:
    """Return clips of random textures that move on by the same whole pixels at every step."""
    rng = np.random.default_rng(2)
    clips = []
    for down, right in rng.integers(-2, 3, (30, 2)):
        wide = rng.integers(0, 256, (2 * SIDE, 2 * SIDE, 3)).astype(np.uint8)
        frames = [np.roll(wide, (step * down, step * right), axis=(0, 1)) for step in range(CONTEXT + STEPS)]
        clips.append([frame[SIDE // 2 :, SIDE // 2 :][:SIDE, :SIDE] for frame in frames])
    return np.array(clips)


def test_a_translated_copy_does_not_pass_and_a_model_that_knows_what_enters_does() -> None:
    frames = scrolling()
    context, true = frames[:, :CONTEXT], frames[:, CONTEXT:]
    found = baselines(context, true, np.arange(len(frames)), None)
    assert found.mse_BS["translated copy"].mean() < 0.5 * found.mse_BS["last frame"].mean()
    assert lower_end(np.repeat(context[:, -1:], STEPS, axis=1), true, found) < 0
    noise = np.random.default_rng(3).normal(0, 10, true.shape)
    assert lower_end(true + noise, true, found) > 0.5
