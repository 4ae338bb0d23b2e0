"""Labelled objects: which labels count, the share with the right kind, and what the others became."""

from __future__ import annotations

import numpy as np

from tests.helpers.object_scenes import BLUE, CELLS, RED, drawn, scene_of
from tinyworlds_gate.gate.measures.objects.labels import score_labels
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_CLIP

BEFORE = drawn()
SCENE = scene_of(BEFORE, BEFORE, [drawn((8, 20, 3, 3, RED), (20, 8, 3, 3, BLUE))])
ONE = np.zeros(1, int)
LABELS = np.array([(0, 0, b"red", 42.9, 18.9), (0, 0, b"blue", 18.0, 42.0)], OBJECT_IN_CLIP)
"""The middles (column 21, row 9) and (column 9, row 21) in pixels, two to a cell."""


def test_labels_in_pixels_are_found_at_their_cells() -> None:
    expected = {"sightings": 1, "episodes": 1, "recall": 1.0, "place_error": 0.0, "became": {}}
    assert score_labels(SCENE, SCENE.true, LABELS, ONE) == [{"kind": kind, **expected} for kind in ("blue", "red")]


def test_a_row_says_what_the_others_became_and_how_far_they_are() -> None:
    made = drawn((8, 20, 3, 3, BLUE), (20, 12, 3, 3, BLUE))[None, None]
    blue, red = score_labels(SCENE, made, LABELS, ONE)
    assert (blue["recall"], blue["place_error"], blue["became"]) == (0.0, 4 / CELLS, {"nothing": 1})
    assert (red["recall"], red["became"]) == (0.0, {"blue": 1})


def test_labels_outside_the_frame_or_where_the_context_shows_nothing_do_not_count() -> None:
    known = np.ones((1, 1, CELLS, CELLS), bool)
    known[0, 0, 9, 21] = False
    scene = scene_of(BEFORE, BEFORE, [drawn()], known=known)
    side = 2.0 * CELLS
    places = [(42.0, 18.0), (-0.5, 9.0), (9.0, -0.5), (side, 9.0), (9.0, side)]
    labels = np.array([(0, 0, b"red", x, y) for x, y in places], OBJECT_IN_CLIP)
    assert score_labels(scene, scene.true, labels, ONE) == []
    assert score_labels(scene, scene.true, labels[:0], ONE) == []
    edge = np.array([(0, 0, b"red", x, y) for x, y in [(0.0, 0.0), (side - 0.5, side - 0.5)]], OBJECT_IN_CLIP)
    assert score_labels(scene, scene.true, edge, ONE)[0]["sightings"] == 2
