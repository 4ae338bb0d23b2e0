"""Play episodes in processes of their own, in order, with the same result for any number of processes.

A game's module imports its emulator, so only those processes import it: an emulator that crashes is a dead child.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import secrets
import signal
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import psutil

from tinyworlds_gate.errors import DataError

MARKER = "TINYWORLDS_GATE_GAME_POOL"
"""Environment variable of a pool's processes and of the engines that they start."""


@dataclass(frozen=True)
class Recipe:
    """What every episode of a file has in common."""

    module: str
    """Module with `play_episode(seed, episode, length, frame_size)`."""
    seed: int
    length: int
    """Frames of an episode, at most."""
    frame_size: int
    """Pixels."""


def play_in_order(recipe: Recipe, episodes: int, processes: int, *, apart: bool) -> Generator[Any, None, None]:
    """Yield episodes 0, 1, 2, …

    Args:
        recipe: what to play.
        episodes: how many there are, at most.
        processes: how many play at the same time.
        apart: play in another process even when it is only one.

    Raises:
        DataError: a process died, or an episode failed.
    """
    if processes == 1 and not apart:
        for index in range(episodes):
            yield _play(recipe, index)
        return
    token = secrets.token_hex(8)
    pool = ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(token,)
    )
    try:
        ahead: deque[Future[Any]] = deque()
        for index in range(episodes):
            ahead.append(pool.submit(_play, recipe, index))
            if len(ahead) > processes + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as error:
        game = recipe.module.rpartition(".")[2]
        raise DataError(
            f"a process that plays {game} was killed or crashed (out of memory?); nothing was written; fix: run the "
            "command again with `--workers 1`"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _end_engines(token)


def _play(recipe: Recipe, index: int) -> Any:
    game = importlib.import_module(recipe.module)
    return game.play_episode(recipe.seed, index, recipe.length, recipe.frame_size)


def _start_worker(token: str) -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent dies.

    An engine that this process starts inherits no descriptor: it would hold the pipe by which its death is seen.
    """
    os.environ[MARKER] = token
    for descriptor in os.listdir("/dev/fd"):
        if int(descriptor) > 2 and os.path.exists(f"/dev/fd/{descriptor}"):
            os.set_inheritable(int(descriptor), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    for engine in psutil.Process().children(recursive=True):
        engine.kill()
    os._exit(1)


def _end_engines(token: str) -> None:
    """End the engines that a killed process left: those that inherited this pool's marker."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARKER) == token:
                process.kill()
        except psutil.Error:
            continue
