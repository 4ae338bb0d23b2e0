"""The lamp world: a game so small that a model of a hundred thousand weights knows it, and every defect shows.

A picture of 16 px has 4 x 4 tiles, each of one of two materials, which stay the same through an episode. In each frame
a player lights the room in one of four colours, or not at all. The next picture is told by the last one (the tiles) and
the action (the light), and by nothing else: who ignores one of the two is wrong.
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
"""Of each material (second axis) in each light (first)."""
EPISODES, EPISODE_FRAMES = 160, 12
FPS = 60


def play(seed: int, episodes: int = EPISODES, length: int = EPISODE_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 ``[episodes, length, 16, 16, 3]`` and actions int64 ``[episodes, length]``, into the next frame."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(COLOURS.shape[1], size=(episodes, 1, TILES, TILES))
    lights = rng.integers(ACTIONS, size=(episodes, length))
    pictures = COLOURS[lights[:, :, None, None], tiles]
    frames = pictures.repeat(TILE_PX, axis=2).repeat(TILE_PX, axis=3)
    actions = np.zeros_like(lights)
    actions[:, :-1] = lights[:, 1:]
    return frames, actions


def write_world(path: Path, seed: int = 0, episodes: int = EPISODES) -> Path:
    """Write a frames file of the game, with its actions (docs/journal.md knows them as true actions)."""
    frames, actions = play(seed, episodes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames.reshape(-1, *frames.shape[2:]), compression="gzip")
        file.create_dataset("episode", data=np.repeat(np.arange(episodes), EPISODE_FRAMES))
        file.create_dataset("actions", data=actions.reshape(-1).astype(np.uint8))
        file.attrs["fps"] = FPS
    return path
