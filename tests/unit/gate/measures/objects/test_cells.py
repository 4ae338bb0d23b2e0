"""Frames on the grid of cells: every reduction against its definition, written out."""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.cells import (
    area_median,
    blur,
    box_mean,
    cell_size,
    in_light_of,
    largest,
    neighbours,
    norm,
    share_of_cells,
    to_cells,
)

RANDOM = np.random.default_rng(0).uniform(0, 255, (2, 9, 11, 3)).astype(np.float32)


@pytest.mark.parametrize(("side", "size"), [(20, 1), (64, 1), (128, 2), (130, 2), (256, 4)])
def test_the_longer_side_has_about_64_cells(side: int, size: int) -> None:
    assert cell_size(side, 8) == cell_size(8, side) == size


def test_a_cell_is_the_mean_of_its_pixels_and_the_edge_is_repeated() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (129, 65, 3), np.uint8)
    found = to_cells(frame)
    assert found.shape == (65, 33, 3)
    assert found[3, 5] == pytest.approx(frame[6:8, 10:12].mean(axis=(0, 1)))
    assert found[-1, -1] == pytest.approx(frame[-1, -1])
    mask = np.zeros((128, 128), bool)
    mask[0, 0] = mask[2:4, 2] = True
    assert share_of_cells(mask)[:2, :2].tolist() == [[0.25, 0.0], [0.0, 0.5]]


def test_the_blur_is_a_gaussian_in_both_axes() -> None:
    point = np.zeros((1, 11, 11, 3), np.float32)
    point[0, 5, 5] = 100
    weights = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    weights /= weights.sum()
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = 100 * np.outer(weights, weights)
    assert blur(point)[0, :, :, 1] == pytest.approx(expected, abs=1e-4)
    assert blur(np.full((1, 4, 4, 3), 7, np.float32)) == pytest.approx(7)
    assert np.array_equal(blur(point, 0), point)


def test_a_mean_over_squares_repeats_the_edge() -> None:
    table = RANDOM[..., 0]
    for radius in (1, 3):
        padded = np.pad(table, [(0, 0), (radius, radius), (radius, radius)], mode="edge")
        side = 2 * radius + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
        assert box_mean(table, radius) == pytest.approx(windows.mean(axis=(-2, -1)), rel=1e-5)


def test_largest_norm_and_neighbours() -> None:
    assert largest(np.array([[1, 2, 3], [3, 1, 2], [2, 3, 1]])).tolist() == [3, 3, 3]
    assert norm(np.array([[2.0, 3.0, 6.0]])).tolist() == [7.0]
    assert neighbours(RANDOM, np.maximum)[1, 4, 6] == pytest.approx(RANDOM[1, 3:6, 5:8].max(axis=(0, 1)))
    assert neighbours(RANDOM, np.minimum)[0, 0, 10] == pytest.approx(RANDOM[0, :2, 9:].min(axis=(0, 1)))


@pytest.mark.parametrize("axis", [0, 1])
def test_medians_of_areas_are_interpolated_between_the_middles_of_blocks(axis: int) -> None:
    """Blocks of 0, 8, 16 and 24; the fourth is cut off by the frame and has fewer votes, not another value."""
    length = 30
    row = (np.arange(length) // 8 * 8).astype(np.float32)
    table = np.moveaxis(np.broadcast_to(row[:, None, None], (length, 13, 1)), 0, axis)
    expected = np.interp(np.arange(length), [3.5, 11.5, 19.5, 27.5], [0, 8, 16, 24])
    for found in np.moveaxis(area_median(table), axis, 1)[..., 0]:
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_median_ignores_what_is_small_and_what_has_no_vote() -> None:
    table = np.full((2, 20, 20, 1), 5.0, np.float32)
    table[:, 9:14, 9:14] = 90
    table[0, :, :6] = np.nan
    assert area_median(table) == pytest.approx(5)
    assert np.isnan(area_median(np.full((8, 8, 1), np.nan, np.float32))).all()


@pytest.mark.parametrize(
    ("shown", "background", "expected"),
    [
        (34.0, 84.0, 68.0),  # half the light: (34 + 16) / (84 + 16)
        (20.0, 100.0, 50.0),  # darker than 0.4 of the light is no light
        (250.0, 50.0, 100.0),  # nor is more than 2.5 times of it
        (80.0, 32.0, 40.0),  # the darkest background that votes
        (80.0, 31.0, 80.0),  # none votes
    ],
)
def test_light_over_the_whole_frame_is_divided_out(shown: float, background: float, expected: float) -> None:
    cells, behind = (np.full((1, 12, 12, 3), level, np.float32) for level in (shown, background))
    assert in_light_of(cells, behind) == pytest.approx(expected)
    cells[0, 3:6, 3:6] = 200
    assert in_light_of(cells, behind)[0, 9, 9] == pytest.approx(expected)
