"""The blend per region finds the weights of every region, and weights of other episodes do not see the own truth."""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.region_blend import (
    Products,
    _by_region,
    _fitted,
    added,
    blended_errors,
    clip_products,
)
from tinyworlds_gate.gate.measures.simple_predictions import planes, predictions, translation

RNG = np.random.default_rng(0)
CONTEXT, STEPS = 3, 2
MEAN = np.full((12, 20, 3), 100.0)


def clip(side: tuple[int, int] = (12, 20)) -> tuple[np.ndarray, np.ndarray]:
    """Return a context of noise, and frames that show the last one on the left and the mean frame on the right."""
    context = RNG.integers(0, 256, (CONTEXT, *side, 3)).astype(np.uint8)
    true = np.repeat(context[-1:], STEPS, axis=0)
    true[:, :, side[1] // 2 :] = 100
    return context, true


def products(context: np.ndarray, true: np.ndarray) -> Products:
    return clip_products(predictions(context, MEAN, STEPS), planes(true))


@pytest.mark.requirement("G8")
def test_every_region_gets_its_own_weights() -> None:
    clips = [products(*clip()) for _ in range(40)]
    errors = blended_errors(clips, np.arange(40) // 4, None)
    for whole, region in zip(errors[1], errors[8], strict=True):
        assert whole.shape == (40, STEPS)
        assert region.mean() < 0.2 * whole.mean()


@pytest.mark.requirement("G8")
def test_weights_of_the_other_episodes_do_not_see_the_own_true_frames() -> None:
    clips, group = [products(*clip()) for _ in range(6)], np.array([0, 0, 1, 1, 2, 2])
    found = blended_errors(clips, group, None)
    for own in range(3):
        rest = added([clips[index] for index in np.flatnonzero(group != own)])
        alone = blended_errors([clips[2 * own]], np.zeros(1, int), rest)
        for grid, (of_others, of_all) in found.items():
            np.testing.assert_allclose(alone[grid][0][0], of_others[2 * own], rtol=1e-6)
            assert (of_all.sum(axis=0) <= of_others.sum(axis=0)).all()


@pytest.mark.requirement("G8")
def test_the_error_is_that_of_the_blended_frames() -> None:
    """One prediction with weight 1 in every region has its own error."""
    context, true = clip()
    found = predictions(context, MEAN, STEPS)
    one = clip_products(found, planes(true))
    for number, frames in enumerate(found.still_NCHW):
        weights = np.zeros(one.b_RSN.shape)
        weights[..., number] = 1
        np.testing.assert_allclose(
            one.errors(weights), np.square(frames - planes(true)).mean(axis=(1, 2, 3)), rtol=1e-5
        )


@pytest.mark.parametrize("by", [(0, 0), (3, -2), (-4, 1), (0, 5)])
def test_the_movement_of_the_picture_is_found(by: tuple[int, int]) -> None:
    wide = RNG.random((3, 60, 70), np.float32)
    before, last = (wide[:, 20 - down : 52 - down, 20 - right : 60 - right] for down, right in ((0, 0), by))
    assert translation(before, last) == by


@pytest.mark.requirement("G8")
@pytest.mark.parametrize("clips", [1, 5])
def test_weights_of_a_region_are_drawn_to_those_around_it_as_by_eight_clips(clips: int) -> None:
    """With one prediction, by hand, from the whole picture down to 8 x 8 regions."""
    square, product = RNG.uniform(1, 5, (2, 8, 8))
    around, squares_around, expected = np.zeros((1, 1)), np.zeros((1, 1)), {}
    for grid in (1, 2, 4, 8):
        blocks = [table.reshape(grid, 8 // grid, grid, 8 // grid).sum(axis=(1, 3)) for table in (square, product)]
        prior = 0.0 if grid == 1 else squares_around.repeat(2, 0).repeat(2, 1) / 4 * 8 / clips
        weights = around if grid == 1 else around.repeat(2, 0).repeat(2, 1)
        held = prior + 1e-3 * (blocks[0] + prior) + 1e-9
        around, squares_around = (blocks[1] + held * weights) / (blocks[0] + held), blocks[0]
        expected[grid] = around
    found = _fitted(square.reshape(64, 1, 1, 1), product.reshape(64, 1, 1), clips)
    for grid, weights in expected.items():
        np.testing.assert_allclose(found[grid].reshape(grid, grid), weights, rtol=1e-9)


@pytest.mark.requirement("G8")
def test_regions_that_do_not_fit_are_filled_up_with_nothing() -> None:
    frames = RNG.uniform(size=(2, 3, 13, 20)).astype(np.float32)
    regions = _by_region(frames)
    assert regions.shape == (64, 2, 3 * 2 * 3)
    np.testing.assert_array_equal(regions[8 + 1, 1].reshape(3, 2, 3), frames[1, :, 2:4, 3:6])
    np.testing.assert_allclose(np.square(regions).sum(), np.square(frames).sum(), rtol=1e-5)
    np.testing.assert_array_equal(regions[8 * 6 + 6, 0].reshape(3, 2, 3)[:, 0, :2], frames[0, :, 12, 18:])
    assert not regions[8 * 7].any()
