"""Objects that the true frames do not show, by kind. ``pytest tests/unit/gate/measures/objects/test_extras.py``"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, RED, Square, drawn, repeated_scene, scene_of
from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.compare import compare
from tinyworlds_gate.gate.measures.objects.extras import score_extras
from tinyworlds_gate.gate.measures.objects.kinds import find_kinds

GREEN = (100.0, 230.0, 100.0)
TRUE: list[list[Square]] = [[(16, 16, 4, 4, RED)], [(18, 18, 4, 4, RED)]]
SCENE = scene_of(drawn((4, 4, 4, 4, RED)), drawn((6, 6, 4, 4, RED)), [drawn(*one) for one in TRUE])


def rows(*more: list[Square], without: bool = False) -> list[dict[str, Any]]:
    """Return the rows of generated frames that show the true objects (or not) and more."""
    shown = [drawn(*([] if without else true), *extra) for true, extra in zip(TRUE, more, strict=True)]
    return score_extras(SCENE, compare(SCENE, np.stack(shown)[None]), find_kinds(SCENE), np.array([7]))


@pytest.mark.requirement("G6")
def test_frames_without_extras_have_no_row() -> None:
    assert rows([], []) == []


@pytest.mark.requirement("G6")
def test_an_extra_of_a_true_kind_counts_against_what_is_found_of_it() -> None:
    (row,) = rows([(25, 25, 4, 4, RED)], [])
    assert (row["colour"], row["height_px"], row["width_px"]) == ("#dc6464", 8, 8)
    assert (row["extra"], row["episodes"], row["precision"]) == (1, 1, pytest.approx(2 / 3))
    assert row["precision_high"] is None, "one episode has no interval"
    (row,) = rows([(25, 25, 4, 4, RED)], [(4, 25, 4, 4, RED)], without=True)
    assert (row["extra"], row["precision"]) == (2, 0.0)


@pytest.mark.requirement("G6")
def test_extras_that_are_like_no_true_object_are_grouped_among_themselves() -> None:
    found = rows([(3, 24, 4, 4, BLUE), (25, 25, 4, 4, RED)], [(3, 26, 4, 4, BLUE), (25, 4, 4, 4, GREEN)])
    by_colour = {row["colour"]: (row["extra"], row["precision"]) for row in found}
    assert by_colour == {"#dc6464": (1, pytest.approx(2 / 3)), "#6464f0": (2, 0.0), "#64e664": (1, 0.0)}


@pytest.mark.requirement("G6")
def test_episodes_and_the_interval_are_over_clips() -> None:
    scene = repeated_scene(SCENE, 3)
    red: Square = (25, 25, 4, 4, RED)
    extras: list[list[list[Square]]] = [[[red], []], [[], []], [[red], [red, (3, 24, 4, 4, BLUE)]]]
    made = np.stack([[drawn(*true, *more) for true, more in zip(TRUE, clip, strict=True)] for clip in extras])
    of_red, of_blue = score_extras(scene, compare(scene, made), find_kinds(scene), np.array([7, 8, 9]))
    assert (of_red["extra"], of_red["episodes"], of_red["precision"]) == (3, 2, pytest.approx(6 / 9))
    assert of_red["precision_high"] == pytest.approx(
        ratio_interval(np.full(3, 2), np.array([3, 2, 4]), np.arange(3))[1]
    )
    assert (of_blue["extra"], of_blue["episodes"], of_blue["precision"], of_blue["precision_high"]) == (1, 1, 0.0, None)
