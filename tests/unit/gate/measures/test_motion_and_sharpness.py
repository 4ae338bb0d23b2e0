"""How much moves and how sharp it is, by closed forms.

pytest tests/unit/gate/measures/test_motion_and_sharpness.py
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.motion_and_sharpness import motion_ratio, sharpness


def levels(*values: int) -> np.ndarray:
    """Return one clip of plain frames of these levels."""
    return np.stack([np.full((2, 3, 3), value, np.uint8) for value in values])[None]


def test_motion_is_the_change_from_the_last_context_frame_on() -> None:
    context, true = levels(200, 10), levels(20, 40)
    assert motion_ratio(context, true, true) == 1.0
    assert motion_ratio(context, true, levels(10, 10)) == 0.0
    assert motion_ratio(context, true, levels(25, 55)) == pytest.approx(1.5)
    assert motion_ratio(context, true, levels(0, 10)) == pytest.approx(20 / 30)
    assert math.isnan(motion_ratio(context, levels(10, 10), true))
    both = [np.concatenate(one) for one in ((context, context), (true, levels(10, 10)), (levels(25, 55), true))]
    assert motion_ratio(*both) == pytest.approx((45 + 30) / 30)


def test_sharpness_is_the_difference_of_neighbours_in_rows_and_columns() -> None:
    true = levels(0, 0)
    true[0, 0, 1] = 100  # rows differ by 100 in one of two frames
    halved = true // 2
    assert sharpness(true, true) == 1.0
    assert sharpness(true, halved) == 0.5
    columns = levels(0, 0)
    columns[0, 1, :, 1] = 60  # a column of three: both of its edges differ by 60
    assert sharpness(true, columns) == pytest.approx(60 / 100)
    assert math.isnan(sharpness(levels(5, 5), true))
    assert sharpness(np.concatenate([true, columns]), np.concatenate([halved, columns])) == pytest.approx(110 / 160)
