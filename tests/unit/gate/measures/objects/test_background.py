"""The background of a clip whose view moves over a world: each place as most frames show it."""

from __future__ import annotations

import numpy as np

from tests.helpers.object_games import SIDE, SIZE
from tinyworlds_gate.gate.measures.objects.background import find_background, middle_frame

FRAMES, CONTEXT, START = 9, 3, 12
STEP = np.array([1, -1])
WORLD = np.random.default_rng(0).integers(40, 140, (24, 24, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)


def views(world: np.ndarray = WORLD) -> np.ndarray:
    """Return the frames of a view that moves down and to the left by a pixel a frame."""
    corners = START + STEP * np.arange(FRAMES)[:, None]
    return np.stack([world[y : y + SIZE, x : x + SIZE] for y, x in corners])


def test_the_middle_frame_is_the_lower_of_two() -> None:
    assert middle_frame(np.array([[5], [1], [9], [2]])).tolist() == [2]
    assert middle_frame(np.array([[5], [1], [9]])).tolist() == [5]


def test_the_world_behind_an_object_is_found_where_the_view_moves() -> None:
    true = views()
    shown = true.copy()
    for number in range(FRAMES):
        left = 50 - 4 * number
        shown[number, 30 : 30 + SIDE, left : left + SIDE] = 170
    found = find_background(shown, CONTEXT, middle_frame(shown))
    assert np.array_equal(found.offsets, -STEP * np.arange(FRAMES)[:, None])
    assert np.array_equal(found.frames[found.known], true[found.known])
    assert not found.fixed.any()
    windows = [np.s_[y : y + SIZE, x : x + SIZE] for y, x in START + STEP * np.arange(FRAMES)[:, None]]
    count, in_context = np.zeros((2, *WORLD.shape[:2]), int)
    for number, window in enumerate(windows):
        count[window] += 1
        in_context[window] += number < CONTEXT
    twice = (count >= 2) & (in_context > 0)
    assert np.array_equal(found.known, np.stack([twice[window] for window in windows]))


def test_a_display_that_stays_on_the_screen_is_fixed() -> None:
    shown = views()
    display = np.random.default_rng(1).integers(150, 255, (16, SIZE, 3), np.uint8)
    shown[:, :16] = display
    found = find_background(shown, CONTEXT, middle_frame(shown))
    assert found.offsets.any()
    assert found.fixed[:12].all()
    assert not found.fixed[20:].any()
    assert np.array_equal(found.frames[:, :12], np.broadcast_to(display[:12], (FRAMES, 12, SIZE, 3)))


def test_a_still_clip_takes_the_background_of_all_clips_unless_it_shows_another_one() -> None:
    still = np.repeat(views()[:1], FRAMES, axis=0)
    shown = still.copy()
    shown[:, 30 : 30 + SIDE, 10 : 10 + SIDE] = 250
    assert np.array_equal(find_background(shown, CONTEXT, still[0]).frames, still)
    assert np.array_equal(find_background(shown, CONTEXT, 255 - still[0]).frames, shown)
