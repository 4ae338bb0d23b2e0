"""The lamp world: a game that a model of 100,000 weights can learn completely, so that every defect is visible.

A frame of 16 x 16 px has 4 x 4 tiles, each of one of two materials that stay the same during an episode. In each frame
a player lights the room in one of four colours, or leaves it dark. The next frame depends on the last one (the tiles)
and the action (the light) only, so a model that ignores one of them is wrong.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

GAME = "LAMPS"
TILES, TILE_PX = 4, 4
DARK, RED, GREEN, BLUE, WHITE = range(5)
ACTIONS = 5
COLOURS = np.array(
    [
        [[76, 76, 76], [96, 96, 96]],
        [[138, 76, 76], [180, 96, 96]],
        [[76, 138, 76], [96, 180, 96]],
        [[76, 76, 138], [96, 96, 180]],
        [[138, 138, 138], [180, 180, 180]],
    ],
    np.uint8,
)
"""RGB colours ``[light, material]``."""
EPISODES, EPISODE_FRAMES = 160, 12
FPS = 60


def play(seed: int, episodes: int = EPISODES, length: int = EPISODE_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Return frames uint8 ``[episodes, length, 16, 16, 3]`` and the actions int64 ``[episodes, length]`` after them."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(COLOURS.shape[1], size=(episodes, 1, TILES, TILES))
    lights = rng.integers(ACTIONS, size=(episodes, length))
    pictures = COLOURS[lights[:, :, None, None], tiles]
    frames = pictures.repeat(TILE_PX, axis=2).repeat(TILE_PX, axis=3)
    actions = np.zeros_like(lights)
    actions[:, :-1] = lights[:, 1:]
    return frames, actions


def write_world(path: Path, seed: int = 0, episodes: int = EPISODES) -> Path:
    """Write a frames file of the game with its true actions, and return its path."""
    frames, actions = play(seed, episodes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames.reshape(-1, *frames.shape[2:]), compression="gzip")
        file.create_dataset("episode", data=np.repeat(np.arange(episodes), EPISODE_FRAMES))
        file.create_dataset("actions", data=actions.reshape(-1).astype(np.uint8))
        file.attrs["fps"] = FPS
    return path
