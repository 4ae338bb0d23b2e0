"""The true frames as a scene: a scrolling background, and the objects that stand out from it."""

from __future__ import annotations

import numpy as np

from tests.helpers.object_games import COLOURS, CONTEXT, SIDE, SIZE, STEPS, Game, games, rollouts
from tinyworlds_gate.gate.measures.objects.scene import see

TIMES = np.arange(CONTEXT + STEPS)[:, None]


def test_the_last_context_frame_scrolls_with_the_background() -> None:
    (game,) = games(0, clips=1, scroll=False)
    view = len(TIMES) + np.array([1, -1]) * TIMES
    nowhere = np.full_like(game.places, -1)
    scene = see(*rollouts([Game(game.world, view, nowhere)]))
    moved = np.array([-1, 1]) * np.arange(1, STEPS + 1)[:, None]
    assert np.array_equal(scene.offsets, moved[None])
    assert np.array_equal(scene.context[2], np.array([[[2, -2], [1, -1], [0, 0]]]))
    for step in range(STEPS):
        inside = (0, step, slice(2, SIZE - step - 4), slice(step + 4, SIZE - 2))  # the blur reaches two cells
        np.testing.assert_allclose(scene.last[inside], scene.true[inside], atol=1e-3)
        assert scene.known[inside].all()
        assert not scene.known[0, step, SIZE - step - 1 :].any()
        assert not scene.known[0, step, :, : step + 1].any()
    assert len(scene.objects) == 0


def test_an_object_is_seen_at_its_place_in_every_frame_and_what_is_large_is_none() -> None:
    (game,) = games(0, clips=1, scroll=False)
    places = (len(TIMES) + np.array([20, 4]) + np.array([1, 3]) * TIMES)[:, None]
    context, true = rollouts([Game(game.world, game.view, places, COLOURS[:1])])
    scene = see(context, true)
    corners = (places[CONTEXT:, 0] - len(TIMES)).tolist()
    assert scene.objects.frame.tolist() == list(range(STEPS))
    for number, (top, left) in enumerate(corners):
        assert abs(scene.objects.top[number] - (top - 1)) <= 1
        assert abs(scene.objects.left[number] - (left - 1)) <= 1
        assert SIDE <= scene.objects.height[number] <= SIDE + 4
    assert scene.shape == (1, STEPS, SIZE, SIZE)
    assert scene.context[0].shape[:2] == (1, 2)
    flash = true.copy()
    flash[:, 4, 8:40, 8:40] = 250
    assert 4 not in see(context, flash).objects.frame
