"""The blur at other widths. ``pytest tests/unit/gate/measures/objects/test_cells_edges.py``"""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.cells import blur


@pytest.mark.parametrize(("sigma", "radius"), [(0.2, 1), (0.5, 1), (2.0, 5), (3.0, 8)])
def test_a_blur_is_cut_at_two_and_a_half_deviations(sigma: float, radius: int) -> None:
    point = np.zeros((1, 21, 21, 3), np.float32)
    point[0, 10, 10] = 100
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    expected = np.zeros((21, 21))
    expected[10 - radius : 11 + radius, 10 - radius : 11 + radius] = 100 * np.outer(weights, weights)
    assert blur(point, sigma)[0, :, :, 2] == pytest.approx(expected, abs=1e-4)


def test_no_width_and_a_negative_one_leave_the_grid_as_it_is() -> None:
    grid = np.random.default_rng(0).uniform(size=(1, 5, 5, 3)).astype(np.float32)
    assert blur(grid, 0) is grid
    assert blur(grid, -1.0) is grid
