"""What became of one object, for each thing that a model can do with it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, RED, Square, drawn, repeated_scene, scene_of
from tinyworlds_gate.gate.measures.objects.cells import blur
from tinyworlds_gate.gate.measures.objects.compare import (
    DISPLACED,
    MISSING,
    REPLACED,
    Comparison,
    compare,
    found_objects,
)

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


def test_what_touches_a_place_that_the_context_does_not_show_is_not_judged() -> None:
    known = np.ones(SCENE.known.shape, bool)
    known[:, :, :, 29:] = False
    scene = scene_of(BEFORE, LAST, list(SCENE.true[0]), known=known)
    for left, count in ((24, 1), (25, 0)):
        made = np.stack([SCENE.true[0, 0], drawn((18, 18, 4, 4, RED), (3, left, 4, 4, BLUE))])[None]
        assert len(compare(scene, made).extra) == count


def of_last_frame(*squares: Square) -> Comparison:
    return compare(SCENE, np.stack([SCENE.true[0, 0], drawn(*squares)])[None])


@pytest.mark.parametrize(
    ("square", "fate", "distance"),
    [
        ((18, 18, 4, 4, (159.6, 100.0, 100.0)), "", 0.0),
        ((18, 18, 4, 4, (159.4, 100.0, 100.0)), MISSING, np.nan),
        ((18, 8, 4, 4, RED), DISPLACED, 10.0),
        ((18, 5, 4, 4, RED), MISSING, np.nan),
        ((28, 18, 4, 4, RED), DISPLACED, 10.0),
        ((10, 12, 4, 4, RED), DISPLACED, 10.0),
        ((26, 24, 4, 4, RED), DISPLACED, 10.0),
        ((8, 8, 4, 4, RED), DISPLACED, np.hypot(10, 10)),
        ((18, 28, 4, 4, (136.0, 100.0, 100.0)), DISPLACED, 10.0),
        ((18, 28, 4, 4, (134.0, 100.0, 100.0)), MISSING, np.nan),
        ((18, 28, 4, 4, (160.0, 160.0, 100.0)), DISPLACED, 10.0),
        ((18, 18, 4, 4, (100.0, 100.0, 161.0)), REPLACED, np.nan),
        ((18, 18, 4, 4, (100.0, 100.0, 158.0)), MISSING, np.nan),
    ],
)
def test_an_object_is_found_searched_and_replaced_within_these_limits(
    square: Square, fate: str, distance: float
) -> None:
    found = of_last_frame(square)
    assert (found.found[1], found.fate[1]) == (not fate, fate)
    np.testing.assert_allclose(found.distance[1], distance)
    made = np.stack([SCENE.true[0, 0], drawn(square)])[None]
    assert found_objects(SCENE, made)[1] == (not fate)


@pytest.mark.parametrize(
    ("square", "extra"),
    [
        ((3, 12, 10, 12, (131.0, 100.0, 100.0)), 1),
        ((3, 12, 12, 12, (129.0, 100.0, 100.0)), 0),
        ((3, 12, 7, 17, (131.0, 100.0, 100.0)), 1),
        ((3, 12, 3, 7, (131.0, 100.0, 100.0)), 0),
        ((3, 24, 1, 6, BLUE), 0),
        ((3, 24, 6, 1, BLUE), 0),
        ((3, 24, 2, 2, BLUE), 0),
        ((3, 24, 2, 3, BLUE), 1),
        ((0, 0, 14, 15, BLUE), 0),
    ],
    ids=[
        "thirty levels",
        "fainter",
        "half of an object",
        "a twelfth of an object",
        "one row",
        "one column",
        "four cells",
        "six cells",
        "a fifth of the frame",
    ],
)
def test_what_is_distinct_thick_and_small_is_an_object_too_many(square: Square, extra: int) -> None:
    assert len(of_last_frame((18, 18, 4, 4, RED), square).extra) == extra


def test_a_thing_of_the_background_that_is_gone_is_erased_and_no_extra() -> None:
    stone: Square = (24, 4, 6, 6, BLUE)
    background = np.broadcast_to(drawn(stone), SCENE.true.shape)
    true = [drawn(stone, (16, 16, 4, 4, RED)), drawn(stone, (18, 18, 4, 4, RED))]
    scene = scene_of(drawn(stone), drawn(stone), true, background=background, objects=SCENE.objects)
    gone = compare(scene, np.stack([true[0], drawn((18, 18, 4, 4, RED))])[None])
    assert (len(gone.erased), len(gone.extra), gone.found.tolist()) == (1, 0, [True, True])
    assert (gone.erased.frame.tolist(), gone.erased.top.tolist(), gone.erased.left.tolist()) == ([1], [25], [5])
    there = compare(scene, np.stack(true)[None])
    assert (len(there.erased), len(there.extra)) == (0, 0)
    brighter = drawn((24, 4, 6, 6, (100.0, 250.0, 240.0)), (18, 18, 4, 4, RED))
    assert [len(one) for one in (compare(scene, np.stack([true[0], brighter])[None]).erased,)] == [0]


def test_the_objects_of_generated_frames_are_found_as_the_true_ones_are() -> None:
    found = of_last_frame((18, 18, 4, 4, RED), (3, 24, 4, 4, BLUE), (28, 2, 4, 4, (129.0, 100.0, 100.0)))
    assert sorted(zip(found.shown.frame, found.shown.top, found.shown.left, strict=True)) == [
        *((0, 16, 16), (1, 3, 24), (1, 18, 18))
    ]


@pytest.mark.parametrize(("sigma", "sharp"), [(0.0, True), (0.5, True), (1.0, False), (1.5, False)])
def test_frames_that_are_blurred_alike_show_every_object(sigma: float, sharp: bool) -> None:
    scene = scene_of(drawn(), drawn(), [drawn((16, 16, 2, 3, RED)), drawn((18, 18, 2, 3, RED))])
    made = np.stack([blur(frame[None], sigma)[0] for frame in scene.true[0]])[None]
    assert found_objects(scene, made).tolist() == [sharp] * 2, "as they are, they are too faint"
    found = compare(scene, made)
    assert (found.found.tolist(), len(found.extra), len(found.erased)) == ([True, True], 0, 0)


def test_a_difference_at_the_same_place_in_all_clips_is_usual() -> None:
    scene = repeated_scene(SCENE, 5)
    border = (3, 24, 4, 4, (100.0, 100.0, 128.0))
    for clips, extra in (((0, 1, 2, 3, 4), 0), ((0,), 0)):
        made = scene.true.copy()
        for clip in clips:
            made[clip, 1] = drawn((18, 18, 4, 4, RED), border)
        assert len(compare(scene, made).extra) == extra
    made = scene.true.copy()
    made[:, :] = np.stack([drawn((16, 16, 4, 4, RED), (3, 24, 4, 4, BLUE)), drawn((18, 18, 4, 4, RED))])[None]
    assert len(compare(scene, made).extra) == 5, "an object may be wrong at the same place in all clips"
