"""Generate the frames file of a game, byte-identical for any number of processes.

Run as ``tinyworlds-gate data make crafter|pong|doom|minigrid|takecover``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from contextlib import closing
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
from tinyworlds_gate.reference.data.game_table import GAMES, Game
from tinyworlds_gate.reference.data.memory_limit import frames_bytes, require_memory
from tinyworlds_gate.reference.data.progress import Progress
from tinyworlds_gate.run.machine import usable_cpus

__all__ = ["GAMES", "make_game"]

MIN_EPISODE_LENGTH = 2


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
    reuse: bool = False,
) -> None:
    """Write ``num_frames`` frames of a game to ``path``, which must not exist.

    Episodes have ``episode_length`` frames, fewer when the game ends; the last one is cut off at ``num_frames``. The
    file depends on game, frames, size, length and seed only, not on ``workers`` (default: the CPUs that this process
    may use). With ``reuse`` an existing file is left as it is; a second caller waits for the first and then finds it.

    Raises:
        DataError: a bad number, an existing file, a missing package, or an emulator that died.
    """
    _check_numbers(game, num_frames, frame_size, episode_length, seed, workers)
    if importlib.util.find_spec(game.package) is None:
        raise DataError(f"{game.name} needs the package {game.package}, which is not installed; fix: {game.install}")
    processes = min(workers or usable_cpus(), -(-num_frames // episode_length))
    _require_pool_memory(processes, episode_length, frame_size)
    if not reuse:
        refuse_existing(path)
    with write_lock(path):
        if reuse and path.exists():
            return
        require_room(path, int(num_frames * frame_size**2 * 3 * game.compressed), f"{num_frames} frames")
        attrs = {"game": game.name, "seed": seed, "frame_size": frame_size, "episode_length": episode_length}
        attrs |= {"num_frames": num_frames, "policy": game.policy}
        recipe = Recipe(game.module, seed, episode_length, frame_size)
        with closing(play_in_order(recipe, game.episodes, processes, apart=game.apart)) as episodes:
            _write_episodes(path, episodes, attrs=attrs, num_frames=num_frames, progress=progress)


def _check_numbers(
    game: Game, num_frames: int, frame_size: int, episode_length: int, seed: int, workers: int | None
) -> None:
    """Raise ``DataError`` for numbers that the game does not take."""
    if not 0 <= seed < game.seeds:
        raise DataError(f"seed: {seed} is not allowed for {game.name}; 0 to {game.seeds - 1} are (fix: --seed 0)")
    least, most = game.frame_sizes
    if frame_size % game.pixels or not least <= frame_size <= most:
        multiple = f", a multiple of {game.pixels}" if game.pixels > 1 else ""
        raise DataError(
            f"frame size {frame_size} px is not allowed for {game.name}; {least} to {most} px{multiple} are "
            "(fix: --frame-size 64)"
        )
    if episode_length < MIN_EPISODE_LENGTH:
        raise DataError(
            f"episode length {episode_length} is not allowed; at least {MIN_EPISODE_LENGTH} frames (fix: 125)"
        )
    if num_frames < episode_length:
        raise DataError(
            f"num_frames {num_frames} is less than one episode of {episode_length} frames; fix: raise it to at least "
            f"{episode_length}"
        )
    if num_frames > (most_frames := episode_length * game.episodes // 2):
        raise DataError(
            f"{num_frames} frames need too many worlds; at most {most_frames} are allowed at this episode length "
            "(fix: raise the episode length)"
        )
    if workers is not None and workers < 1:
        raise DataError(f"workers: {workers} is not allowed; at least 1 is needed")


def _write_episodes(
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


def _require_pool_memory(processes: int, episode_length: int, frame_size: int) -> None:
    """Raise ``DataError`` when the episodes that are played at the same time do not fit into memory."""
    # An episode exists as a list of frames, as an array, and while it is handed over to this process.
    require_memory(
        frames_bytes(3 * processes * episode_length, frame_size),
        f"frame size {frame_size} px with episodes of {episode_length} frames in {processes} processes",
        "a smaller --frame-size, such as 128",
    )
