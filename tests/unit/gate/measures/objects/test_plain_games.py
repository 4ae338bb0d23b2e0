"""Few things before a background that stays: lone agents, balls, beams. None of them is taken for a scroll."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from tests.helpers.object_games import games, rollouts
from tests.helpers.plain_games import CONTEXT, FAULTS, bouncing, grid_world
from tinyworlds_gate.gate.measures.objects.background import scrolled_by
from tinyworlds_gate.gate.measures.objects.cells import blur
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.object_rule import judge_objects
from tinyworlds_gate.names import FAIL, PASS

GAMES: dict[str, Callable[..., np.ndarray]] = {
    "agent on a grid with lines": grid_world,
    "two agents in cells of 16 px": partial(grid_world, cell=16, agents=2),
    "three agents without lines": partial(grid_world, cell=8, lines=False, agents=3),
    "small ball": partial(bouncing, height=8, width=8),
    "small ball and a noisy camera": partial(bouncing, height=8, width=8, noise=6.0),
    "large ball": partial(bouncing, height=24, width=24, round_=True),
    "upright beam": partial(bouncing, height=48, width=2),
    "level beam": partial(bouncing, height=3, width=52),
    "wall": partial(bouncing, height=28, width=5),
}

FEW = ("agent on a grid with lines", "large ball", "upright beam")
MARKED = [game if game in FEW else pytest.param(game, marks=pytest.mark.slow) for game in GAMES]


def judged(true: np.ndarray, made: np.ndarray) -> tuple[str, str]:
    record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], np.arange(len(true)))
    return judge_objects(record, 0.9)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("game", MARKED)
def test_a_perfect_simulation_passes_and_a_blurred_one(game: str) -> None:
    true = GAMES[game](1)
    softened = np.rint(blur(true.astype(np.float32), 1.0)).astype(np.uint8)
    for made in (true, softened):
        verdict, reason = judged(true, made)
        assert verdict == PASS, reason


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("game", MARKED)
def test_a_thing_that_is_missing_stands_still_or_is_there_twice_fails(game: str, fault: str) -> None:
    verdict, reason = judged(GAMES[game](1), GAMES[game](1, fault=fault))
    assert verdict == FAIL, reason


@pytest.mark.parametrize("game", GAMES)
def test_few_things_that_move_are_no_scroll(game: str) -> None:
    assert not any(offsets.any() for offsets in scrolled_by(list(GAMES[game](2, clips=3))))


def test_a_texture_and_many_stars_that_move_together_are_a_scroll() -> None:
    for texture, clip in ((True, np.concatenate([one[0] for one in rollouts(games(3, clips=1))])), (False, stars())):
        (offsets,) = scrolled_by([clip])
        assert (np.diff(offsets, axis=0).any(axis=1)).mean() > 0.9, texture


def stars() -> np.ndarray:
    """Return a clip of 40 dots on black that move by two pixels a frame, [T, H, W, 3]."""
    frames = np.zeros((15, 64, 64, 3), np.uint8)
    for row, column in np.random.default_rng(0).integers(0, 62, (40, 2)):
        for time, frame in enumerate(frames):
            left = (column + 2 * time) % 62
            frame[row : row + 2, left : left + 2] = 230
    return frames
