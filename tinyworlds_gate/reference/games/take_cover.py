"""ViZDoom's scenario `take_cover` (Freedoom): imps at the far wall throw fireballs, and the player steps aside.

Unlike the scenario, the player has so much health that no fireball ends the episode, and a hit turns the screen red for
some steps: hits can be seen, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import vizdoom

from tinyworlds_gate.reference.games.doom import engine, record_episode
from tinyworlds_gate.reference.games.played import Played, emulator_seed, policy_rng

SCENARIO = "take_cover"
TICS = 4
"""Tics of the engine for a step: 8.75 steps a second."""
NOTHING, LEFT, RIGHT = range(3)
BUTTONS = (vizdoom.Button.MOVE_LEFT, vizdoom.Button.MOVE_RIGHT)
HEALTH = "give health 100000"
"""The engine keeps 32,867 of it; a hit costs 21 to 168."""
REPEAT = 0.8
MOST_WARM_UP = 50
"""Steps that are played before the first frame, at most: the scenario always begins in the same place."""
SHARES = (0.2, 0.4, 0.4)
"""Of a new action: nothing, left, right."""


def play_episode(seed: int, episode: int, length: int, frame_size: int) -> Played:
    """Play ``length`` frames of ``frame_size`` px."""
    game, actions = start_episode(seed, episode)
    return record_episode(game, actions, take_step, length, frame_size)


def start_episode(seed: int, episode: int) -> tuple[vizdoom.DoomGame, Iterator[int]]:
    """Return the engine at the first frame of an episode, after some steps, and the policy's further actions."""
    game = engine(SCENARIO, BUTTONS, flashes=True)
    game.set_seed(emulator_seed(seed, episode))
    game.new_episode()
    game.send_game_command(HEALTH)
    rng = policy_rng(seed, episode)
    actions = _policy(rng)
    for _ in range(1 + int(rng.integers(MOST_WARM_UP))):
        take_step(game, next(actions))
    return game, actions


def take_step(game: vizdoom.DoomGame, action: int) -> bool:
    """Hold the button of an action for a step; return whether the player was hit."""
    before = health(game)
    game.make_action([int(number == action) for number in range(1, len(BUTTONS) + 1)], TICS)
    return health(game) < before


def health(game: vizdoom.DoomGame) -> float:
    """Return the health of the player."""
    return float(game.get_game_variable(vizdoom.GameVariable.HEALTH))


def _policy(rng: np.random.Generator) -> Iterator[int]:
    last = int(rng.choice(len(SHARES), p=SHARES))
    while True:
        yield last
        if rng.random() >= REPEAT:
            last = int(rng.choice(len(SHARES), p=SHARES))
