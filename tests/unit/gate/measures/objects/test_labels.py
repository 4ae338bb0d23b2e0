"""Labelled objects: which labels count, the share with the right kind, and what the others became."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_kinds_that_look_alike_are_not_told_apart() -> None:
    true = drawn((8, 20, 3, 3, RED), (20, 8, 3, 3, RED), (20, 24, 3, 3, BLUE))
    scene = scene_of(BEFORE, BEFORE, [true, true, true])
    names = ((b"anna", 42.9, 18.9), (b"bob", 18.0, 42.0), (b"blue", 50.0, 42.0))
    labels = np.array([(0, step, *one) for step in range(3) for one in names], OBJECT_IN_CLIP)
    rows = score_labels(scene, scene.true, labels, ONE)
    assert {row["kind"]: row["recall"] for row in rows} == {"anna": 1.0, "blue": 1.0, "bob": 1.0}
    other = drawn((8, 20, 3, 3, BLUE), (20, 8, 3, 3, RED), (20, 24, 3, 3, RED))
    rows = score_labels(scene, np.stack([other] * 3)[None], labels, ONE)
    assert {row["kind"]: row["recall"] for row in rows} == {"anna": 0.0, "blue": 0.0, "bob": 1.0}


def test_the_seed_of_python_s_hashes_changes_nothing() -> None:
    """The order of a set of names once decided which patches were drawn: verdicts could not be repeated."""
    script = (
        "import numpy as np; from tests.unit.gate.measures.objects.test_labels import *\n"
        "true = [drawn((4 + n, 20, 3, 3, RED), (20, 4 + n, 3, 3, BLUE)) for n in range(3)]\n"
        "scene = scene_of(BEFORE, BEFORE, true)\n"
        "labels = np.array([(0, n, k, 42.9, 9.9) for n in range(3) for k in (b'a', b'b', b'c')], OBJECT_IN_CLIP)\n"
        "made = scene.true + np.random.default_rng(0).normal(0, 60, scene.true.shape)\n"
        "print(score_labels(scene, made.astype(np.float32), labels, ONE))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(answers) == 1
