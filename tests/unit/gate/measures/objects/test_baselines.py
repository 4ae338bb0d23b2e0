"""The constant velocity of objects: each goes on as it moved between the last two context frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, RED, drawn, scene_of
from tinyworlds_gate.gate.measures.objects.baselines import (
    CONSTANT_VELOCITY,
    COPY_LAST,
    ERASED,
    context_objects,
    predictions,
)
from tinyworlds_gate.gate.measures.objects.scene import Scene

STEPS = 3
STILL = [drawn()] * STEPS


def moved_on(scene: Scene) -> np.ndarray:
    return predictions(scene, scene.context[0][:, -1])[CONSTANT_VELOCITY][0]


def test_each_object_goes_on_at_its_own_velocity_and_leaves_the_frame() -> None:
    before = drawn((10, 12, 4, 4, RED), (25, 5, 4, 4, BLUE))
    last = drawn((11, 14, 4, 4, RED), (23, 2, 4, 4, BLUE))
    made = moved_on(scene_of(before, last, STILL))
    assert np.array_equal(made[0], drawn((12, 16, 4, 4, RED), (21, 0, 4, 3, BLUE)))
    assert np.array_equal(made[1], drawn((13, 18, 4, 4, RED)))
    assert np.array_equal(made[2], drawn((14, 20, 4, 4, RED)))


@pytest.mark.parametrize("velocity", [(-2, 0), (0, -2), (2, 0), (0, 2)], ids=str)
def test_what_leaves_at_one_edge_does_not_come_in_at_another(velocity: tuple[int, int]) -> None:
    down, right = velocity
    top, left = (2 if one < 0 else 26 if one > 0 else 14 for one in velocity)
    before, last = drawn((top - down, left - right, 4, 4, RED)), drawn((top, left, 4, 4, RED))
    made = moved_on(scene_of(before, last, STILL))
    assert [int((frame != drawn()).any(axis=-1).sum()) for frame in made] == [16, 8, 0]


@pytest.mark.parametrize(
    ("height", "width", "moves"), [(4, 8, True), (2, 4, True), (4, 9, False), (1, 7, False)], ids=str
)
def test_an_object_is_recognised_up_to_twice_and_down_to_half_its_area(height: int, width: int, moves: bool) -> None:
    made = moved_on(scene_of(drawn((10, 12, height, width, RED)), drawn((11, 14, 4, 4, RED)), STILL))
    assert np.array_equal(made[1], drawn((13, 18, 4, 4, RED) if moves else (11, 14, 4, 4, RED)))


@pytest.mark.parametrize(("red", "known"), [(130.0, False), (131.0, True)])
def test_an_object_is_known_from_above_thirty_levels(red: float, known: bool) -> None:
    faint = (red, 100.0, 100.0)
    scene = scene_of(drawn((10, 12, 4, 4, faint)), drawn((11, 14, 4, 4, faint)), STILL)
    assert [len(one) for one in context_objects(scene)] == [int(known)] * 2
    assert (moved_on(scene) != drawn()).any() == known


def test_an_object_that_stays_on_a_scrolling_background_scrolls_with_it() -> None:
    scene = scene_of(drawn((10, 12, 4, 4, RED)), drawn((11, 10, 4, 4, RED)), STILL)
    context = (*scene.context[:2], np.array([[[3.0, 5.0], [4.0, 3.0]]]))
    offsets = np.array([[[1.0, -2.0], [2.0, -4.0], [3.0, -6.0]]])
    made = moved_on(replace(scene, context=context, offsets=offsets))
    for step, frame in enumerate(made, start=1):
        assert np.array_equal(frame, drawn((11 + step, 10 - 2 * step, 4, 4, RED)))


def test_the_other_baselines_copy_the_last_frame_or_erase_the_objects() -> None:
    last = drawn((11, 14, 4, 4, RED))
    found = predictions(scene_of(last, last, STILL), last[None])
    for step in range(STEPS):
        assert np.array_equal(found[COPY_LAST][0, step], last)
        assert np.array_equal(found[ERASED][0, step], drawn())


def test_one_context_frame_has_no_velocity() -> None:
    last = drawn((11, 14, 4, 4, RED))
    scene = scene_of(last, last, STILL)
    frames, backgrounds, offsets = scene.context
    made = moved_on(replace(scene, context=(frames[:, 1:], backgrounds[:, 1:], offsets[:, 1:])))
    assert np.array_equal(made, scene.background[0])
