"""How many places without a label are looked at. ``pytest tests/unit/gate/measures/objects/test_labels_edges.py``"""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.object_scenes import drawn, scene_of
from tests.unit.gate.measures.objects.test_labels import BEFORE, CELLS, LABELS, ONE, SCENE
from tinyworlds_gate.gate.measures.objects.labels import score_labels


class Counting:
    """A generator whose places are all the first one; it counts them."""

    def __init__(self) -> None:
        self.limits: list[int] = []

    def integers(self, limit: int) -> int:
        self.limits.append(limit)
        return 0

    def permutation(self, members: np.ndarray) -> np.ndarray:
        return members


@pytest.mark.parametrize(("shown", "places"), [(True, 4 * 64), (False, 20 * 64)])
def test_places_without_a_label_are_drawn_until_there_are_256_or_1280_were_tried(
    shown: bool, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = np.full((1, 1, CELLS, CELLS), True)
    known[0, 0, 0, 0] = shown
    scene = scene_of(BEFORE, BEFORE, [drawn()], known=known)
    generator = Counting()
    monkeypatch.setattr(np.random, "default_rng", lambda seed: generator)
    score_labels(scene, scene.true, LABELS, ONE)
    assert generator.limits == [1, 1, CELLS, CELLS] * places


def test_a_kind_is_compared_in_the_middle_of_its_label_and_found_up_to_its_reach() -> None:
    rows = score_labels(SCENE, SCENE.true, LABELS, np.array([7]))
    assert [(row["kind"], row["sightings"], row["episodes"]) for row in rows] == [("blue", 1, 1), ("red", 1, 1)]
