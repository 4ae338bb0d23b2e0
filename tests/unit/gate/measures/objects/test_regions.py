"""Regions of a mask: which cells belong together, where they are and what they sum to."""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.gate.measures.objects.regions import Regions, find_regions

MASK = np.array(
    [
        ["##..#", "...#.", "#....", ".#..#"],
        [".....", "..##.", "..#..", "....."],
    ]
)
CELLS = np.array([[[cell == "#" for cell in row] for row in frame] for frame in MASK])
FOUND = find_regions(CELLS)


def places(regions: Regions) -> list[tuple[int, ...]]:
    columns = (regions.frame, regions.top, regions.left, regions.height, regions.width, regions.area)
    return [tuple(int(one) for one in row) for row in zip(*columns, strict=True)]


def test_cells_that_touch_by_a_side_or_a_corner_are_one_region() -> None:
    assert places(FOUND) == [
        (0, 0, 0, 1, 2, 2),
        (0, 0, 3, 2, 2, 2),
        (0, 2, 0, 2, 2, 2),
        (0, 3, 4, 1, 1, 1),
        (1, 1, 2, 2, 2, 3),
    ]
    assert FOUND.labels[0].tolist() == [[1, 1, 0, 0, 2], [0, 0, 0, 2, 0], [3, 0, 0, 0, 0], [0, 3, 0, 0, 4]]
    assert FOUND.labels[1].tolist() == [[0] * 5, [0, 0, 5, 5, 0], [0, 0, 5, 0, 0], [0] * 5]


def test_sums_and_largest_values_are_of_the_region_alone() -> None:
    table = np.arange(40, dtype=float).reshape(2, 4, 5)
    assert FOUND.total(table).tolist() == [0 + 1, 4 + 8, 10 + 16, 19, 27 + 28 + 32]
    assert FOUND.highest(table).tolist() == [1, 8, 16, 19, 32]


def test_a_choice_of_regions_is_numbered_anew() -> None:
    chosen = FOUND.only(np.array([False, True, False, False, True]))
    assert places(chosen) == [places(FOUND)[1], places(FOUND)[4]]
    assert np.array_equal(chosen.labels, np.select([FOUND.labels == 2, FOUND.labels == 5], [1, 2], 0))


def test_a_spiral_is_one_region() -> None:
    rows = ["#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"]
    assert places(find_regions(np.array([[[cell == "#" for cell in row] for row in rows]]))) == [(0, 0, 0, 7, 7, 31)]


def test_an_empty_mask_has_no_region() -> None:
    nothing = find_regions(np.zeros((2, 3, 3), bool))
    assert len(nothing) == len(nothing.total(np.ones((2, 3, 3)))) == 0
