"""MiniGrid's DoorKey: two rooms seen from above; the agent fetches a key, opens a door and walks to the goal."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.world_object import Door
from minigrid.envs import DoorKeyEnv

from tinyworlds_gate.reference.games.played import Played, Seen, emulator_seed, objects_table, policy_rng

CELLS = 8
LEFT, RIGHT, FORWARD, PICK_UP, TOGGLE = range(5)
MOVES = (Actions.left, Actions.right, Actions.forward, Actions.pickup, Actions.toggle)
USES = 0.7
"""Share of the steps in front of a key or a closed door in which the agent uses it."""
SHARES = (0.2, 0.2, 0.5, 0.05, 0.05)
"""Of all other steps."""
OBJECTS = ("key", "door", "goal")


@lru_cache(maxsize=1)
def _game() -> DoorKeyEnv:
    return DoorKeyEnv(size=CELLS, max_steps=10**9)


def play_episode(seed: int, episode: int, length: int, frame_size: int) -> Played:
    """Play ``length`` frames of ``frame_size`` px, a multiple of 8; shorter when the goal is reached."""
    game = start_episode(seed, episode)
    actions, tile = _policy(game, policy_rng(seed, episode)), frame_size // CELLS
    frames, taken, seen = [], [], []
    ended = False
    while True:
        frames.append(picture(game, frame_size))
        seen.append(_objects(game, tile))
        taken.append(next(actions))
        if len(frames) == length or ended:
            return Played(np.stack(frames), np.array(taken, np.uint8), objects_table(seen))
        ended = take_step(game, taken[-1])


def start_episode(seed: int, episode: int) -> DoorKeyEnv:
    """Return the game at the first frame of an episode."""
    game = _game()
    game.reset(seed=emulator_seed(seed, episode))
    return game


def take_step(game: DoorKeyEnv, action: int) -> bool:
    """Take an action; return whether the goal is reached."""
    return bool(game.step(MOVES[action])[2])


def picture(game: DoorKeyEnv, frame_size: int) -> np.ndarray:
    """Return the whole grid, uint8 [frame_size, frame_size, 3]."""
    frame: np.ndarray = game.get_frame(highlight=False, tile_size=frame_size // CELLS)
    return frame


def _policy(game: DoorKeyEnv, rng: np.random.Generator) -> Iterator[int]:
    while True:
        ahead = game.grid.get(*game.front_pos)
        use = None
        if ahead is not None and ahead.type == "key":
            use = PICK_UP
        elif isinstance(ahead, Door) and not ahead.is_open and game.carrying is not None:
            use = TOGGLE
        usual = int(rng.choice(len(SHARES), p=SHARES))
        yield use if use is not None and rng.random() < USES else usual


def _objects(game: DoorKeyEnv, tile: int) -> list[Seen]:
    cells = [("agent", *game.agent_pos)]
    for x in range(game.grid.width):
        for y in range(game.grid.height):
            cell = game.grid.get(x, y)
            if cell is not None and cell.type in OBJECTS:
                cells.append((cell.type, x, y))
    return [(kind, (int(x) + 0.5) * tile, (int(y) + 0.5) * tile) for kind, x, y in cells]
