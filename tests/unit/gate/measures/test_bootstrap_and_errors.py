"""MSE, PSNR and SSIM against closed forms and against a second implementation in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyworlds_gate.gate.measures.information import psnr_db
from tinyworlds_gate.reference.rollout.errors_by_step import (
    mean_frame_error,
    mse_by_clip_and_step,
    ssim_by_clip_and_step,
    unit_range,
)

C1, C2 = 0.01**2, 0.03**2
"""SSIM's constants for frames in [0, 1]."""


def constant(value: float, side: int = 24, steps: int = 2) -> torch.Tensor:
    """Frames ``[1, S, 3, side, side]`` in [-1, 1] whose every pixel is ``value`` in [0, 1]."""
    return torch.full((1, steps, 3, side, side), value * 2 - 1)


def checkerboard(shift: int, cell: int = 1, low: float = 0.0, high: float = 1.0, side: int = 24) -> torch.Tensor:
    """One frame ``[1, 1, 3, side, side]`` in [-1, 1]: squares of ``cell`` pixels, moved right by ``shift`` pixels."""
    rows, columns = np.mgrid[0:side, 0:side]
    board = ((rows // cell + (columns - shift) // cell) % 2).astype(np.float32)
    values = torch.from_numpy(low + (high - low) * board) * 2 - 1
    return values.expand(1, 1, 3, side, side)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.0, 1.0), (0.25, 0.75), (0.2, 0.3)])
def test_two_constant_frames_differ_by_the_square_of_their_difference(first: float, second: float) -> None:
    found = mse_by_clip_and_step(constant(first), constant(second))
    assert found.dtype == torch.float32
    assert found.tolist() == [pytest.approx([(first - second) ** 2] * 2, abs=1e-7)]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("cell", "shift", "share"), [(4, 0, 0.0), (4, 4, 1.0), (4, 8, 0.0), (4, 1, 0.25), (1, 1, 1.0)])
def test_a_checkerboard_that_moved_is_wrong_where_its_squares_changed(cell: int, shift: int, share: float) -> None:
    """Moved by s of a square's c pixels, a share s/c of the pixels has the other colour."""
    before, after = (checkerboard(s, cell, low=0.2, high=0.7) for s in (0, shift))
    assert mse_by_clip_and_step(before, after).item() == pytest.approx(share * 0.25, abs=1e-7)


@pytest.mark.requirement("G5")
def test_each_step_and_clip_has_its_own_error_and_all_pixels_and_channels_count_alike() -> None:
    true = constant(0.5).repeat(2, 1, 1, 1, 1)
    predicted = true.clone()
    predicted[1, 0, 2, 3, 4] = 1.0  # one value of one frame, off by a half
    found = mse_by_clip_and_step(predicted, true)
    assert found.tolist() == [[0.0, 0.0], [pytest.approx(0.25 / (3 * 24 * 24)), 0.0]]


@pytest.mark.requirement("G5")
def test_predictions_are_clamped_to_the_range_of_frames_before_they_are_compared() -> None:
    assert unit_range(torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert mse_by_clip_and_step(constant(1.0) * 5, constant(1.0)).tolist() == [[0.0, 0.0]]
    assert unit_range(torch.tensor([0.5], dtype=torch.float16)).dtype == torch.float32


def test_a_pixel_that_is_no_number_makes_its_step_no_number_and_no_other() -> None:
    predicted = constant(0.5)
    predicted[0, 1, 0, 0, 0] = math.nan
    first, second = mse_by_clip_and_step(predicted, constant(0.5))[0].tolist()
    assert first == 0.0
    assert math.isnan(second)


def test_the_mean_frame_is_one_frame_against_every_step() -> None:
    true = torch.cat((constant(0.5, steps=1), constant(0.9, steps=1)), dim=1)
    found = mean_frame_error(true, constant(0.4)[0, 0])
    assert found.tolist() == [pytest.approx([0.01, 0.25], abs=1e-6)]


@pytest.mark.requirement("G5")
def test_psnr_is_twenty_decibels_for_an_error_of_a_tenth() -> None:
    assert psnr_db(mse_by_clip_and_step(constant(0.4), constant(0.5))[0, 0].item()) == pytest.approx(20.0, abs=1e-4)
    assert psnr_db(1.0) == 0.0
    assert psnr_db(0.0) == math.inf
    assert math.isnan(psnr_db(math.nan))


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (0.0, 1.0), (0.3, 0.6)])
def test_the_ssim_of_constant_frames_is_its_luminance_term(first: float, second: float) -> None:
    expected = (2 * first * second + C1) / (first**2 + second**2 + C1)
    found = ssim_by_clip_and_step(constant(first), constant(second))
    assert found is not None
    assert found.tolist() == [pytest.approx([expected] * 2, abs=1e-3)]


@pytest.mark.requirement("G5")
def test_the_ssim_of_a_checkerboard_is_one_with_itself_and_near_minus_one_with_its_negative() -> None:
    """Single-pixel squares: every window's mean is a half, its variance a quarter and the covariance minus that."""
    board, negative = checkerboard(0), checkerboard(1)
    same, opposite = ssim_by_clip_and_step(board, board), ssim_by_clip_and_step(board, negative)
    assert same is not None
    assert opposite is not None
    assert same.item() == pytest.approx(1.0, abs=1e-6)
    assert opposite.item() == pytest.approx((-0.5 + C2) / (0.5 + C2), abs=5e-3)


def test_frames_smaller_than_the_window_have_no_ssim() -> None:
    assert ssim_by_clip_and_step(constant(0.5, side=10), constant(0.5, side=10)) is None
    assert ssim_by_clip_and_step(constant(0.5, side=11), constant(0.5, side=11)) is not None


@pytest.mark.parametrize("metric", [mse_by_clip_and_step, ssim_by_clip_and_step])
def test_frames_of_different_shapes_are_not_compared(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match=r"predicted .* against true"):
        metric(constant(0.5, steps=1), constant(0.5, steps=2))


def numpy_mse(predicted: np.ndarray, true: np.ndarray) -> float:
    """One frame against another, [C, H, W] in [-1, 1], with loops over nothing but definitions, in float64."""
    difference = np.clip(predicted.astype(np.float64), -1, 1) / 2 - np.clip(true.astype(np.float64), -1, 1) / 2
    return float((difference**2).sum() / difference.size)


def numpy_ssim(predicted: np.ndarray, true: np.ndarray) -> float:
    """SSIM of Wang et al. 2004 in float64: a separable Gaussian of sigma 1.5 cut at 5 pixels, borders reflected."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blurred(image: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            width = [(5, 5) if axis == other else (0, 0) for other in (0, 1)]
            padded = np.pad(image, width, mode="reflect")
            image = sum(tap * np.take(padded, range(i, i + image.shape[axis]), axis) for i, tap in enumerate(taps))
        return image

    values = []
    for one, other in zip(predicted.astype(np.float64), true.astype(np.float64), strict=True):
        x, y = (np.clip(one, -1, 1) + 1) / 2, (np.clip(other, -1, 1) + 1) / 2
        mean_x, mean_y = blurred(x), blurred(y)
        var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
        both = blurred(x * y) - mean_x * mean_y
        values.append(
            (2 * mean_x * mean_y + C1) * (2 * both + C2) / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
        )
    return float(np.mean(values))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0.0, 1.5), side=st.integers(11, 30))
@pytest.mark.requirement("G5")
def test_a_second_implementation_in_numpy_finds_the_same_errors(seed: int, noise: float, side: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.uniform(-1, 1, (2, 2, 3, side, side)).astype(np.float32)
    predicted = (true + noise * rng.standard_normal(true.shape)).astype(np.float32)
    mse = mse_by_clip_and_step(torch.from_numpy(predicted), torch.from_numpy(true)).numpy()
    ssim = ssim_by_clip_and_step(torch.from_numpy(predicted), torch.from_numpy(true))
    assert ssim is not None
    for clip in range(2):
        for step in range(2):
            pair = predicted[clip, step], true[clip, step]
            assert mse[clip, step] == pytest.approx(numpy_mse(*pair), rel=1e-5, abs=1e-9)
            assert ssim[clip, step].item() == pytest.approx(numpy_ssim(*pair), abs=2e-4)
