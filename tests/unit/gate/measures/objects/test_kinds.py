"""Kinds of objects are told apart by colour and size. ``pytest tests/unit/gate/measures/objects/test_kinds.py``"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, RED, drawn, scene_of
from tinyworlds_gate.gate.measures.objects.kinds import MOST_KINDS, Kinds, features_of, find_kinds, group


def features(colour: tuple[float, float, float], area: int) -> np.ndarray:
    regions: Any = SimpleNamespace(area=np.array([area]))
    return features_of(regions, np.array([colour], float))


def test_two_kinds_are_one_apart_at_48_levels_or_twice_the_area() -> None:
    np.testing.assert_allclose(features((48, 96, 24), 8), [[1.0, 2.0, 0.5, 3.0]])


@pytest.mark.parametrize(
    ("colour", "area", "kind"),
    [
        ((0, 0, 0), 4, 0),
        ((48, 0, 0), 4, 0),
        ((49, 0, 0), 4, -1),
        ((28.8, 38.4, 0), 4, 0),
        ((28.8, 38.6, 0), 4, -1),
        ((0, 0, 0), 8, 0),
        ((0, 0, 0), 2, 0),
        ((0, 0, 0), 9, -1),
        ((200, 0, 0), 4, 1),
        ((30, 0, 0), 6, 0),
    ],
)
def test_a_region_is_of_the_nearest_kind_within_one(colour: tuple[float, float, float], area: int, kind: int) -> None:
    leaders = np.concatenate([features((0, 0, 0), 4), features((200, 0, 0), 4)])
    kinds = Kinds(np.zeros(0, int), [], leaders)
    assert kinds.of(features(colour, area)).tolist() == [kind]
    assert kinds.of(np.zeros((0, 4))).tolist() == []
    assert Kinds(np.zeros(0, int), [], np.zeros((0, 4))).of(features(colour, area)).tolist() == [-1]


def test_groups_are_led_by_the_heaviest_and_reach_as_far_as_one() -> None:
    places = np.array([[0.0, 0, 0, 0], [1.0, 0, 0, 0], [1.5, 0, 0, 0], [0.0, 0, 0, 1], [0.0, 0, 0, 2]])
    number, leaders = group(places, np.array([5.0, 4.0, 3.0, 2.0, 1.0]))
    assert (number.tolist(), leaders) == ([0, 0, 1, 0, 2], [0, 2, 4])
    number, leaders = group(places[:3], np.array([1.0, 3.0, 2.0]))
    assert (number.tolist(), leaders) == ([0, 0, 0], [1])
    apart = np.zeros((MOST_KINDS + 2, 4))
    apart[:, 3] = np.arange(MOST_KINDS + 2) * 2
    number, leaders = group(apart, -np.arange(len(apart)).astype(float))
    assert (MOST_KINDS, number.tolist()) == (24, [*range(24), -1, -1])
    assert leaders == list(range(24))
    assert group(apart[:0], apart[:0, 0])[1] == []


def test_objects_of_a_scene_are_grouped_and_described_by_colour_and_size() -> None:
    frame = drawn((8, 20, 3, 3, RED), (20, 8, 3, 3, BLUE), (26, 24, 3, 3, BLUE))
    scene = scene_of(drawn(), drawn(), [frame])
    kinds = find_kinds(scene)
    assert sorted(np.bincount(kinds.number).tolist()) == [1, 2]
    shown = {one["colour"] for one in kinds.found}
    assert shown == {"#{:02x}{:02x}{:02x}".format(*(int(level) for level in colour)) for colour in (RED, BLUE)}
    assert {(one["height_px"], one["width_px"]) for one in kinds.found} == {(3 * scene.pixels, 3 * scene.pixels)}
    np.testing.assert_array_equal(kinds.of(kinds.leaders), [0, 1])
