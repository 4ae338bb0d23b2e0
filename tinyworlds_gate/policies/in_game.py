"""Policies in the true game: from the same states as in the model, in processes of their own.

Axes: C policies, B starts, T frames.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.policies.games import policy_games
from tinyworlds_gate.policies.scripted import PolicyGame
from tinyworlds_gate.reference.data.frames_file import resize_frames
from tinyworlds_gate.reference.games.live import LIVE_GAMES
from tinyworlds_gate.run.machine import usable_cpus


class ScoredGame(Protocol):
    """A live game that keeps a score."""

    def reset(self, seed: int, episode: int) -> np.ndarray:
        """Return the first frame of an episode."""

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        """Take an action; return the frame after it and whether the game ended."""

    def score(self) -> float:
        """Return the score so far."""


@dataclass(frozen=True)
class Start:
    """Where a policy takes over: after these actions of an episode, when the game shows this frame."""

    episode: int
    actions: tuple[int, ...]
    shown: np.ndarray


@dataclass(frozen=True)
class TrueReturns:
    """The game's own score and the return that is read from its frames, float64 [C, B] each."""

    score: np.ndarray
    read: np.ndarray


def true_returns(
    game: PolicyGame,
    recorded: Mapping[str, Any],
    starts: Sequence[Start],
    *,
    shown_size: int,
    steps: int,
    workers: int | None = None,
) -> TrueReturns:
    """Play every policy from every start.

    Args:
        game: with the policies.
        recorded: name, seed and native_size of the frames file (`recorded_game`).
        starts: B states.
        shown_size: pixels of the frames that the policies see, those of the model.
        steps: of a policy, fewer when the game ends.
        workers: processes (default: the CPUs that this process may use); the returns do not depend on it.

    Raises:
        DataError: the emulator shows another picture than the file, fails, or has died.
    """
    jobs = [(game.name, dict(recorded), name, tuple(starts), shown_size, steps) for name in game.policies]
    context = multiprocessing.get_context("spawn")
    processes = min(workers or usable_cpus(), len(jobs))
    try:
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_ignore_interrupts) as pool:
            found = list(pool.map(_play_policy, jobs))
    except BrokenProcessPool:
        raise DataError(f"the emulator of {game.name} has died, so there are no returns of the true game") from None
    score, read = (np.array(part) for part in zip(*found, strict=True))
    return TrueReturns(score, read)


def play_from(
    live: ScoredGame,
    game: PolicyGame,
    policy: str,
    start: Start,
    resized: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    steps: int,
) -> tuple[float, float]:
    """Return the score and the read return of a policy from one start.

    Raises:
        DataError: the game shows another frame than the file at the start.
    """
    frame = live.reset(seed, start.episode)
    for action in start.actions:
        shown, _ = live.step(action)
        frame = frame if shown is None else shown
    frames = [resized(frame)]
    if not np.array_equal(frames[0], start.shown):
        raise DataError(
            f"the installed emulator of {game.name} shows another picture than the frames file (another version?), so "
            "policies cannot be played from its clips; make the file again with `tinyworlds-gate data make`"
        )
    before, act = live.score(), game.policies[policy]
    for step in range(steps):
        shown, ended = live.step(act(np.stack(frames[-2:] if len(frames) > 1 else frames * 2), step))
        if shown is not None:
            frames.append(resized(shown))
        if ended:
            break
    return live.score() - before, game.read_return(np.stack(frames))


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _play_policy(job: tuple[str, dict[str, Any], str, tuple[Start, ...], int, int]) -> tuple[list[float], list[float]]:
    name, recorded, policy, starts, size, steps = job
    game = policy_games()[name]
    live: Any = LIVE_GAMES[name](int(recorded["native_size"]))

    def resized(frame: np.ndarray) -> np.ndarray:
        return frame if frame.shape[0] == size else resize_frames(frame[None], size)[0]

    try:
        found = [play_from(live, game, policy, one, resized, seed=int(recorded["seed"]), steps=steps) for one in starts]
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  an emulator raises anything, which another process may not unpickle
        raise DataError(f"the emulator of {name} has failed ({type(error).__name__}: {error})") from None
    score, read = (list(part) for part in zip(*found, strict=True))
    return score, read
