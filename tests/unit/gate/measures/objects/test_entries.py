"""Things that come into view as the background scrolls, on scenes written down cell by cell.

pytest tests/unit/gate/measures/objects/test_entries.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, CELLS, RED, Square, drawn, repeated_scene, scene_of
from tinyworlds_gate.gate.measures.objects.entries import ENTRIES, score_entries
from tinyworlds_gate.gate.measures.objects.scene import Scene

STEPS, SPEED = 8, 4
Thing = tuple[int, int, int, int, tuple[float, float, float], int]
"""Top, left in the world, height, width, colour, and cells that it moves down in each frame."""
BIRD: Thing = (4, 40, 4, 4, RED, 3)
"""It stands outside of the context, so that it comes into view."""


def frames(*things: Thing, speed: int = SPEED) -> np.ndarray:
    """Return the generated frames of one clip in which the world scrolls to the left, float32 [S, h, w, 3]."""
    made = []
    for step in range(STEPS):
        squares: list[Square] = []
        for top, left, height, width, colour, moves in things:
            begin, end = (min(max(one - speed * (step + 1), 0), CELLS) for one in (left, left + width))
            squares.append((top + moves * step, begin, height, end - begin, colour))
        made.append(drawn(*squares))
    return np.stack(made)


def scene(clips: int = 1, scrolls: int = 1, **changes: Any) -> Scene:
    """Return a scene without objects, whose first clips scroll."""
    offsets = np.zeros((clips, STEPS, 2))
    offsets[:scrolls, :, 1] = -SPEED * np.arange(1, STEPS + 1)
    return replace(repeated_scene(scene_of(drawn(), drawn(), list(frames())), clips), offsets=offsets, **changes)


def sightings(*things: Thing, **changes: Any) -> int:
    """Return how often these things of the true frames are seen."""
    rows = score_entries(scene(**changes), frames(*things)[None], frames()[None], np.arange(1))
    return int(rows[0]["events"]) if rows else 0


def sightings_upwards(*things: Thing) -> int:
    """Return how often these things are seen where rows and columns of the world are exchanged."""
    before = scene()
    turned = replace(before, offsets=before.offsets[..., ::-1])
    rows = score_entries(turned, frames(*things).swapaxes(1, 2)[None], frames()[None], np.arange(1))
    return int(rows[0]["events"]) if rows else 0


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("things", "seen"),
    [
        ([], 0),
        ([BIRD], 5),
        ([BIRD, (24, 40, 4, 4, BLUE, -3)], 8),
        ([(4, 10, 4, 4, RED, 3)], 0),
        ([(4, 40, 4, 4, RED, 0)], 0),
        ([(4, 40, 4, 10, RED, 3)], 5),
        ([(4, 40, 4, 11, RED, 3)], 2),
        ([(4, 40, 3, 4, RED, 3)], 5),
        ([(4, 40, 2, 8, RED, 3)], 0),
        ([(4, 40, 4, 4, (131.0, 100.0, 100.0), 3)], 5),
        ([(4, 40, 4, 4, (130.0, 100.0, 100.0), 3)], 0),
        ([(4, 52, 4, 4, RED, 3)], 1),
        ([(4, 56, 4, 4, RED, 3)], 0),
    ],
    ids=[
        *(
            "nothing",
            "one",
            "two",
            "in the context's view",
            "at rest",
            "a third wide",
            "too wide but where the edge cuts it",
        ),
        *("three cells", "too thin", "distinct", "faint", "where three frames looked", "where two looked"),
    ],
)
def test_small_distinct_things_that_move_where_no_context_frame_looked_are_seen(things: list[Thing], seen: int) -> None:
    assert (sightings(*things), sightings_upwards(*things)) == (seen, seen)


@pytest.mark.requirement("G6")
def test_a_view_that_has_nothing_in_common_with_the_context_is_judged() -> None:
    near = scene()
    far = replace(near, offsets=near.offsets - [0, 40])
    (row,) = score_entries(far, frames(BIRD)[None], frames()[None], np.arange(1))
    assert row["events"] >= sightings(BIRD)


@pytest.mark.requirement("G6")
def test_what_is_fixed_to_the_screen_is_left_out_with_its_surroundings() -> None:
    judged = np.ones((1, STEPS, CELLS, CELLS), bool)
    judged[0, 0, :, 12:] = False
    assert sightings(BIRD, judged=judged) < sightings(BIRD)
    assert sightings(BIRD, judged=np.zeros_like(judged)) == 0
    unknown = np.zeros_like(judged)
    assert sightings(BIRD, judged=unknown, known=unknown) == 5, "what is not known is not fixed"


@pytest.mark.requirement("G6")
def test_the_numbers_of_true_and_generated_sightings_are_compared_by_episode() -> None:
    of_two = scene(clips=3, scrolls=2)
    true, made = np.stack([frames(BIRD), frames(), frames(BIRD)]), np.stack([frames(), frames(BIRD), frames()])
    (row,) = score_entries(of_two, true, made, np.array([5, 5, 6]))
    assert (row["what"], row["events"], row["episodes"]) == (ENTRIES, 5, 1), "the third clip does not scroll"
    assert (row["found"], row["generated"], row["high"]) == (0, 5, 1.0)
    assert score_entries(of_two, made, made * 0 + 100, np.array([5, 5, 6]))[0]["generated"] == 0
    assert score_entries(scene(scrolls=0), true[:1], true[:1], np.arange(1)) == []
    assert score_entries(of_two, made * 0 + 100, true, np.arange(3)) == [], "there is nothing to have"
