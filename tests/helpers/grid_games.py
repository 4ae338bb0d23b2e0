"""Games of few states, of which every single picture occurs again in other episodes."""

from __future__ import annotations

import numpy as np

SIDE = 64
_STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
_COLOURS = np.array([(30, 60, 220), (220, 40, 40), (20, 160, 60)], np.uint8)


def grid_game(
    seed: int, episodes: int, length: int, *, cells: int, agents: int = 1, repeat: float = 0.0, idle: float = 0.0
) -> np.ndarray:
    """Return frames uint8 [E, F, 64, 64, 3] of squares that walk over a grid of ``cells`` x ``cells`` at random.

    ``repeat``: share of the steps in the direction of the step before; ``idle``: share of the steps without a move.
    """
    rng, cell = np.random.default_rng(seed), SIDE // cells
    frames = np.full((episodes, length, SIDE, SIDE, 3), 200, np.uint8)
    frames[:, :, ::cell], frames[:, :, :, ::cell] = 120, 120
    for episode in frames:
        at, way = rng.integers(0, cells, (agents, 2)), rng.integers(4, size=agents)
        for frame in episode:
            for one, (y, x) in enumerate(at * cell):
                frame[y + 1 : y + cell, x + 1 : x + cell] = _COLOURS[one]
            way = np.where(rng.random(agents) < repeat, way, rng.integers(4, size=agents))
            moves = _STEPS[way] * (rng.random(agents) >= idle)[:, None]
            at = np.clip(at + moves, 0, cells - 1)
    return frames


def bouncing_ball(seed: int, episodes: int, length: int, *, cells: int = 8, paddle: bool = False) -> np.ndarray:
    """Return frames uint8 [E, F, 64, 64, 3] of a ball of which the start decides the whole game.

    ``paddle``: a paddle that moves at random, so that it does not.
    """
    rng, cell = np.random.default_rng(seed), SIDE // cells
    frames = np.zeros((episodes, length, SIDE, SIDE, 3), np.uint8)
    for episode in frames:
        at, speed, bar = rng.integers(0, cells, 2), rng.choice([-1, 1], 2), int(rng.integers(cells))
        for frame in episode:
            y, x = at * cell
            frame[y : y + cell - 2, x : x + cell - 2] = 255
            if paddle:
                frame[bar * cell : (bar + 1) * cell, :3] = (0, 255, 0)
                bar = int(np.clip(bar + rng.integers(-1, 2), 0, cells - 1))
            speed = np.where((at + speed < 0) | (at + speed >= cells), -speed, speed)
            at = at + speed
    return frames
