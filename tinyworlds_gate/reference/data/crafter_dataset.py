"""Generate the Crafter frames file in parallel, byte-identical for any number of processes.

Run as ``tinyworlds-gate data make crafter``.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.crafter_world import (
    FIRST_HELD_OUT_WORLD,
    MIN_FRAME_SIZE,
    world_seed,
)
from tinyworlds_gate.reference.data.episode_pool import Recipe, play_in_order
from tinyworlds_gate.reference.data.frames_writer import refuse_existing, require_room, write_lock
from tinyworlds_gate.reference.data.game_dataset import (
    check_numbers,
    processes_for,
    require_pool_memory,
    write_episodes,
)
from tinyworlds_gate.reference.data.progress import Progress

_LEAST_COMPRESSED = 0.05
"""Share of the uncompressed bytes that Crafter's frames take, at least; 0.067 at 72 px, 0.11 at 32 px."""


def make_crafter(
    path: Path,
    *,
    num_frames: int,
    frame_size: int,
    episode_length: int,
    seed: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write ``num_frames`` Crafter frames of ``frame_size`` pixels to ``path``, which must not exist.

    Episodes have ``episode_length`` frames, fewer when the player dies; the last one is cut off at ``num_frames``.
    Episode i plays in world ``(seed * 1009 + i) % 50000``. The file depends on these four numbers only, not on
    ``workers`` (default: the CPUs this process may use). Raises ``DataError`` for a bad number or an existing file.
    """
    _check(num_frames, frame_size, episode_length, seed, workers)
    refuse_existing(path)
    with write_lock(path):
        write_crafter(
            path,
            num_frames=num_frames,
            frame_size=frame_size,
            episode_length=episode_length,
            seed=seed,
            workers=workers,
            progress=progress,
        )


def write_crafter(
    path: Path,
    *,
    num_frames: int,
    frame_size: int,
    episode_length: int,
    seed: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Like ``make_crafter``, for a caller that already holds the lock of ``path``."""
    _check(num_frames, frame_size, episode_length, seed, workers)
    require_room(path, int(num_frames * frame_size**2 * 3 * _LEAST_COMPRESSED), f"{num_frames} frames")
    attrs = {"game": "crafter", "seed": seed, "frame_size": frame_size, "episode_length": episode_length}
    attrs |= {"num_frames": num_frames, "policy": "repeat 0.6; left right up down 0.21 each, do 0.12, noop 0.04"}
    recipe = Recipe("tinyworlds_gate.reference.data.crafter_world", seed, episode_length, frame_size)
    processes = processes_for(num_frames, episode_length, workers)
    with closing(play_in_order(recipe, FIRST_HELD_OUT_WORLD, processes, apart=False)) as episodes:
        write_episodes(path, episodes, attrs=attrs, num_frames=num_frames, progress=progress)


def _check(num_frames: int, frame_size: int, episode_length: int, seed: int, workers: int | None) -> None:
    world_seed(seed, 0)
    if frame_size < MIN_FRAME_SIZE:
        raise DataError(
            f"frame size {frame_size} px is too small for Crafter; at least {MIN_FRAME_SIZE} px is allowed (fix: 72)"
        )
    check_numbers(num_frames, episode_length, workers)
    if num_frames > episode_length * FIRST_HELD_OUT_WORLD // 2:
        most = episode_length * FIRST_HELD_OUT_WORLD // 2
        raise DataError(
            f"{num_frames} frames need too many worlds; at most {most} are allowed at this episode length "
            "(fix: raise the episode length)"
        )
    require_pool_memory(processes_for(num_frames, episode_length, workers), episode_length, frame_size)
