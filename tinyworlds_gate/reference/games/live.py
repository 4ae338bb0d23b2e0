"""Play a game one action at a time, from the start of an episode of its frames file.

The same actions give the same frames as in the file. A game imports its emulator, so only a process of its own makes
one (`tinyworlds_gate/play/true_game.py`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class LiveGame(Protocol):
    """A game in progress; frames are uint8 [frame_size, frame_size, 3]."""

    def reset(self, seed: int, episode: int) -> np.ndarray:
        """Return the first frame of an episode of the file of this seed."""

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        """Take an action; return the frame after it (None: the game shows none any more) and whether the game ended."""


class LiveCrafter:
    """Crafter."""

    def __init__(self, frame_size: int) -> None:
        from tinyworlds_gate.reference.data.crafter_world import DeterministicCrafter

        self._game = DeterministicCrafter(0, frame_size)

    def reset(self, seed: int, episode: int) -> np.ndarray:
        from tinyworlds_gate.reference.data.crafter_world import world_seed

        self._game.choose_world(world_seed(seed, episode))
        return self._game.reset()

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        self._game.refill()
        frame, _, done, _ = self._game.step(action)
        return frame, bool(done)


class LivePong:
    """Atari's Pong."""

    def __init__(self, frame_size: int) -> None:
        from tinyworlds_gate.reference.games import pong

        self._pong, self._frame_size = pong, frame_size

    def reset(self, seed: int, episode: int) -> np.ndarray:
        self._ale, _ = self._pong.start_episode(seed, episode)
        return self._frame()

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        self._pong.take_step(self._ale, action)
        return self._frame(), bool(self._ale.game_over())

    def score(self) -> float:
        """Return the points of the player less those of the opponent."""
        return float(self._pong.points(self._ale))

    def _frame(self) -> np.ndarray:
        return self._pong.resized(self._pong.playing_field(self._ale), self._frame_size)


class LiveDoom:
    """ViZDoom's `my_way_home`."""

    def __init__(self, frame_size: int) -> None:
        from tinyworlds_gate.reference.games import doom

        self._doom, self._frame_size = doom, frame_size

    def reset(self, seed: int, episode: int) -> np.ndarray:
        self._game = self._doom.start_episode(seed, episode)
        return self._doom.resized(self._game.get_state().screen_buffer, self._frame_size)

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        self._doom.take_step(self._game, action)
        if self._game.is_episode_finished():
            return None, True
        return self._doom.resized(self._game.get_state().screen_buffer, self._frame_size), False


class LiveTakeCover:
    """ViZDoom's `take_cover`."""

    def __init__(self, frame_size: int) -> None:
        from tinyworlds_gate.reference.games import doom, take_cover

        self._doom, self._take_cover, self._frame_size = doom, take_cover, frame_size
        self._hits = 0

    def reset(self, seed: int, episode: int) -> np.ndarray:
        self._hits = 0
        self._game, _ = self._take_cover.start_episode(seed, episode)
        return self._doom.resized(self._game.get_state().screen_buffer, self._frame_size)

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        self._hits += self._take_cover.take_step(self._game, action)
        if self._game.is_episode_finished():
            return None, True
        return self._doom.resized(self._game.get_state().screen_buffer, self._frame_size), False

    def score(self) -> float:
        """Return the number of steps with a hit, negative."""
        return -float(self._hits)


class LiveMinigrid:
    """MiniGrid's DoorKey."""

    def __init__(self, frame_size: int) -> None:
        from tinyworlds_gate.reference.games import minigrid_rooms

        self._rooms, self._frame_size = minigrid_rooms, frame_size

    def reset(self, seed: int, episode: int) -> np.ndarray:
        self._game = self._rooms.start_episode(seed, episode)
        return self._rooms.picture(self._game, self._frame_size)

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        ended = self._rooms.take_step(self._game, action)
        return self._rooms.picture(self._game, self._frame_size), ended


LIVE_GAMES: dict[str, type[LiveCrafter | LivePong | LiveDoom | LiveTakeCover | LiveMinigrid]] = {
    "crafter": LiveCrafter,
    "pong": LivePong,
    "doom": LiveDoom,
    "minigrid": LiveMinigrid,
    "takecover": LiveTakeCover,
}
ACTION_NAMES: dict[str, tuple[str, ...]] = {
    "crafter": ("noop", "left", "right", "up", "down", "do"),
    "pong": ("nothing", "up", "down"),
    "doom": ("nothing", "forward", "turn left", "turn right", "step left", "step right", "shoot"),
    "minigrid": ("turn left", "turn right", "forward", "pick up", "toggle"),
    "takecover": ("nothing", "left", "right"),
}
"""Game → name of each action in its frames file."""
