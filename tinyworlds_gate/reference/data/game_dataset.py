"""Generate the frames file of a game, byte-identical for any number of processes.

Run as ``tinyworlds-gate data make crafter|pong|doom|minigrid``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.episode_pool import Recipe, play_in_order
from tinyworlds_gate.reference.data.frames_writer import (
    FramesWriter,
    new_frames_file,
    refuse_existing,
    require_room,
    write_lock,
)
from tinyworlds_gate.reference.data.memory_limit import frames_bytes, require_memory
from tinyworlds_gate.reference.data.progress import Progress
from tinyworlds_gate.run.machine import usable_cpus

MIN_EPISODE_LENGTH = 2
MOST_EPISODES = 10**6
LEAST_FRAME_SIZE, MOST_FRAME_SIZE = 16, 1024
EXTRA = "pip install 'tinyworlds_gate[games]'"


@dataclass(frozen=True)
class Game:
    """A game whose emulator is an optional package."""

    name: str
    """Of the command line; the dataset is the same in upper case."""
    module: str
    """With `play_episode`; only a process of its own imports it."""
    package: str
    """What the module imports."""
    pixels: int
    """The frame size must be a multiple of it."""
    policy: str
    """In words; recorded in the file."""
    compressed: float
    """Share of the uncompressed bytes that its frames take, at least."""
    notice: str
    """What the licence of the emulator and of the game says, shown when frames are made."""


GAMES = {
    game.name: game
    for game in (
        Game(
            "pong",
            "tinyworlds_gate.reference.games.pong",
            "ale_py",
            1,
            "the player follows the ball in 0.8 of the steps and does anything in the others",
            0.002,
            "Pong runs in ale-py, whose licence is GPL-2.0; its wheel says nothing of the licence of the game. "
            "It plays in a process of its own.",
        ),
        Game(
            "doom",
            "tinyworlds_gate.reference.games.doom",
            "vizdoom",
            1,
            "repeat 0.7; forward 0.4, left and right 0.18 each, sideways 0.05 each, shoot 0.1, nothing 0.04",
            0.05,
            "Doom runs in ViZDoom (MIT, its engine GPL) with the levels and pictures of Freedoom (BSD). It plays in a "
            "process of its own.",
        ),
        Game(
            "minigrid",
            "tinyworlds_gate.reference.games.minigrid_rooms",
            "minigrid",
            8,
            "uses a key or a closed door in front of it in 0.7 of the steps; else forward 0.5, turns 0.2 each, "
            "pick up and toggle 0.05 each",
            0.002,
            "MiniGrid's licence is Apache-2.0.",
        ),
    )
}


def make_game(
    path: Path,
    game: Game,
    *,
    num_frames: int,
    frame_size: int,
    episode_length: int,
    seed: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write ``num_frames`` frames of a game to ``path``, which must not exist.

    Episodes have ``episode_length`` frames, fewer when the game ends. The file depends on game, frames, size, length
    and seed only, not on ``workers`` (default: the CPUs that this process may use).

    Raises:
        DataError: a bad number, an existing file, a missing package, or an emulator that died.
    """
    check_numbers(num_frames, episode_length, workers)
    if not 0 <= seed < 2**31:
        raise DataError(f"seed: {seed} is not allowed; 0 to {2**31 - 1} are (fix: --seed 0)")
    if frame_size % game.pixels or not LEAST_FRAME_SIZE <= frame_size <= MOST_FRAME_SIZE:
        multiple = f", a multiple of {game.pixels}" if game.pixels > 1 else ""
        raise DataError(
            f"frame size {frame_size} px is not allowed for {game.name}; {LEAST_FRAME_SIZE} to {MOST_FRAME_SIZE} px"
            f"{multiple} are (fix: --frame-size 64)"
        )
    if importlib.util.find_spec(game.package) is None:
        raise DataError(f"{game.name} needs the package {game.package}, which is not installed; fix: {EXTRA}")
    processes = processes_for(num_frames, episode_length, workers)
    require_pool_memory(processes, episode_length, frame_size)
    refuse_existing(path)
    with write_lock(path):
        require_room(path, int(num_frames * frame_size**2 * 3 * game.compressed), f"{num_frames} frames")
        attrs = {"game": game.name, "seed": seed, "frame_size": frame_size, "episode_length": episode_length}
        recipe = Recipe(game.module, seed, episode_length, frame_size)
        attrs |= {"num_frames": num_frames, "policy": game.policy}
        with closing(play_in_order(recipe, MOST_EPISODES, processes, apart=True)) as episodes:
            write_episodes(path, episodes, attrs=attrs, num_frames=num_frames, progress=progress)


def write_episodes(
    path: Path,
    episodes: Iterable[Any],
    *,
    attrs: Mapping[str, Any],
    num_frames: int,
    progress: Progress | None,
) -> None:
    """Write episodes to a new file until it has ``num_frames``; the last one is cut off. Needs ``write_lock(path)``."""
    with new_frames_file(path) as writer:
        writer.set_attrs(dict(attrs))
        for index, episode in enumerate(episodes):
            _append(writer, index, episode, num_frames)
            if progress is not None:
                progress(writer.num_frames, num_frames)
            if writer.num_frames == num_frames:
                break


def _append(writer: FramesWriter, index: int, episode: Any, num_frames: int) -> None:
    count = min(len(episode.frames), num_frames - writer.num_frames)
    objects = episode.objects[episode.objects["frame"] < count].copy()
    objects["frame"] += writer.num_frames
    if len(objects):
        writer.append_objects(objects)
    writer.append(
        episode.frames[:count],
        actions=episode.actions[:count],
        episode=np.full(count, index, np.int32),
        **{name: values[:count] for name, values in episode.per_frame.items()},
    )


def check_numbers(num_frames: int, episode_length: int, workers: int | None) -> None:
    """Raise ``DataError`` for numbers that no game takes."""
    if episode_length < MIN_EPISODE_LENGTH:
        raise DataError(
            f"episode length {episode_length} is not allowed; at least {MIN_EPISODE_LENGTH} frames (fix: 125)"
        )
    if num_frames < episode_length:
        raise DataError(
            f"num_frames {num_frames} is less than one episode of {episode_length} frames; fix: raise it to at least "
            f"{episode_length}"
        )
    if workers is not None and workers < 1:
        raise DataError(f"workers: {workers} is not allowed; at least 1 is needed")


def processes_for(num_frames: int, episode_length: int, workers: int | None) -> int:
    """Return how many processes play: as many as there are episodes, at most."""
    return min(workers or usable_cpus(), -(-num_frames // episode_length))


def require_pool_memory(processes: int, episode_length: int, frame_size: int) -> None:
    """Raise ``DataError`` when the episodes that are played at the same time do not fit into memory."""
    # An episode exists as a list of frames, as an array, and while it is handed over to this process.
    require_memory(
        frames_bytes(3 * processes * episode_length, frame_size),
        f"frame size {frame_size} px with episodes of {episode_length} frames in {processes} processes",
        "a smaller --frame-size, such as 128",
    )
