"""What became of one object, for each thing that a model can do with it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, RED, Square, drawn, scene_of
from tinyworlds_gate.gate.measures.objects.compare import DISPLACED, MISSING, REPLACED, compare, found_objects

BEFORE, LAST = drawn((4, 4, 4, 4, RED)), drawn((6, 6, 4, 4, RED))
SCENE = scene_of(BEFORE, LAST, [drawn((16, 16, 4, 4, RED)), drawn((18, 18, 4, 4, RED))])
FAINT = (130.0, 100.0, 100.0)
CLEAR = (190.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("squares", "fate", "distance", "extra", "left_behind"),
    [
        ([(18, 18, 4, 4, RED)], "", 0.0, 0, 0),
        ([(18, 18, 4, 4, CLEAR)], "", 0.0, 0, 0),
        ([(18, 18, 4, 4, FAINT)], MISSING, np.nan, 0, 0),
        ([], MISSING, np.nan, 0, 0),
        ([(22, 15, 4, 4, RED)], DISPLACED, 5.0, 1, 0),
        ([(18, 18, 4, 4, BLUE)], REPLACED, np.nan, 1, 0),
        ([(18, 18, 4, 4, RED), (3, 24, 4, 4, BLUE)], "", 0.0, 1, 0),
        ([(6, 6, 4, 4, RED)], MISSING, np.nan, 1, 1),
    ],
    ids=["exact", "paler", "too faint", "gone", "elsewhere", "recoloured", "one more", "frozen"],
)
def test_the_fate_of_an_object(squares: list[Square], fate: str, distance: float, extra: int, left_behind: int) -> None:
    made = np.stack([SCENE.true[0, 0], drawn(*squares)])[None]
    found = compare(SCENE, made)
    assert found.fate.tolist() == ["", fate]
    assert found.found.tolist() == [True, not fate]
    np.testing.assert_array_equal(found.distance, [0.0, distance])
    assert (len(found.extra), int(found.left_behind.sum()), len(found.erased)) == (extra, left_behind, 0)
    assert found.extra.frame.tolist() == [1] * extra
    assert found_objects(SCENE, made).tolist() == found.found.tolist()
