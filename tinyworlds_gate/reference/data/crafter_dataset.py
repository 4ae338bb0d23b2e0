"""Generate the Crafter frames file in parallel, byte-identical for any number of processes.

Run as ``tinyworlds-gate data make crafter``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.crafter_world import (
    FIRST_HELD_OUT_WORLD,
    MIN_FRAME_SIZE,
    Episode,
    play_episode,
    world_seed,
)
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, refuse_existing, require_room, write_lock
from tinyworlds_gate.reference.data.memory_limit import frames_bytes, require_memory
from tinyworlds_gate.reference.data.progress import Progress
from tinyworlds_gate.run.machine import usable_cpus

MIN_EPISODE_LENGTH = 2
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
    with new_frames_file(path) as writer:
        writer.set_attrs(
            {"game": "crafter", "seed": seed, "frame_size": frame_size, "episode_length": episode_length}
            | {"num_frames": num_frames, "policy": "repeat 0.6; left right up down 0.21 each, do 0.12, noop 0.04"}
        )
        processes = min(workers or usable_cpus(), -(-num_frames // episode_length))
        for index, episode in enumerate(_episodes(seed, episode_length, frame_size, processes)):
            count = min(len(episode.frames), num_frames - writer.num_frames)
            objects = episode.objects[episode.objects["frame"] < count].copy()
            objects["frame"] += writer.num_frames
            writer.append_objects(objects)
            writer.append(
                episode.frames[:count],
                actions=episode.actions[:count],
                episode=np.full(count, index, np.int32),
                player_position=episode.player_position[:count],
            )
            if progress is not None:
                progress(writer.num_frames, num_frames)
            if writer.num_frames == num_frames:
                break


def _check(num_frames: int, frame_size: int, episode_length: int, seed: int, workers: int | None) -> None:
    world_seed(seed, 0)
    if frame_size < MIN_FRAME_SIZE:
        raise DataError(
            f"frame size {frame_size} px is too small for Crafter; at least {MIN_FRAME_SIZE} px is allowed (fix: 72)"
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
    if num_frames > episode_length * FIRST_HELD_OUT_WORLD // 2:
        most = episode_length * FIRST_HELD_OUT_WORLD // 2
        raise DataError(
            f"{num_frames} frames need too many worlds; at most {most} are allowed at this episode length "
            "(fix: raise the episode length)"
        )
    if workers is not None and workers < 1:
        raise DataError(f"workers: {workers} is not allowed; at least 1 is needed")
    processes = min(workers or usable_cpus(), -(-num_frames // episode_length))
    # An episode exists as a list of frames, as an array, and while it is handed over to this process.
    require_memory(
        frames_bytes(3 * processes * episode_length, frame_size),
        f"frame size {frame_size} px with episodes of {episode_length} frames in {processes} processes",
        "a smaller --frame-size, such as 128",
    )


def _episodes(seed: int, length: int, frame_size: int, processes: int) -> Iterator[Episode]:
    """Yield episodes 0, 1, 2, … in order, for any number of processes."""
    if processes == 1:
        for index in range(FIRST_HELD_OUT_WORLD):
            yield play_episode(seed, index, length, frame_size)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker)
    try:
        ahead: deque[Future[Episode]] = deque()
        for index in range(FIRST_HELD_OUT_WORLD):
            ahead.append(pool.submit(play_episode, seed, index, length, frame_size))
            if len(ahead) > processes + 1:
                yield ahead.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that generates Crafter frames was killed (out of memory?); nothing was written; "
            "fix: run `tinyworlds-gate data make crafter --workers 1`"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()
