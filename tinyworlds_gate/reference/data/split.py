"""Split frames into training and held-out episodes, and draw the held-out clips that are measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import DataError, TooFewClipsError
from tinyworlds_gate.names import ATTEMPTS, EVERYTHING, FINAL
from tinyworlds_gate.reference.data.clips import starts_in_episodes

MEAN_FRAME_FRAMES = 2000
"""Number of evenly spaced frames over which the mean frame is computed, about."""


@dataclass(frozen=True)
class EpisodeSplit:
    """Episode ids of both sides, ascending and disjoint."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_episodes(episode: np.ndarray, held_out_fraction: float, seed: int) -> EpisodeSplit:
    """Split the ids in ``episode`` [N] at random; the same arguments always give the same split.

    ``held_out_fraction`` of the episodes (rounded, at least one, never all) is held out; 1 means that the file contains
    only held-out frames. Raises ``DataError`` when the fraction does not lie between 0 and 1, or when there is only one
    episode to split.
    """
    if held_out_fraction == 1.0:
        return EpisodeSplit(train=(), held_out=tuple(int(i) for i in np.unique(episode)))
    if not 0.0 < held_out_fraction < 1.0:
        raise DataError(
            f"held_out_fraction: {held_out_fraction} is not allowed; it must lie between 0 and 1 (fix: 0.1)"
        )
    ids = np.unique(episode)
    if len(ids) < 2:
        raise DataError(
            f"the frames form {len(ids)} episode; at least 2 are needed to hold one out; "
            "fix: use more frames, or shorter episodes (`--episode-length`)"
        )
    count = int(np.clip(round(len(ids) * held_out_fraction), 1, len(ids) - 1))
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(ids)
    return EpisodeSplit(
        train=tuple(sorted(int(i) for i in order[count:])), held_out=tuple(sorted(int(i) for i in order[:count]))
    )


def draw_clips(starts: np.ndarray, episode_of_start: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose ``count`` clip starts, spread over the episodes as evenly as their clips allow.

    Args:
        starts: int ``[S]``, every admissible start.
        episode_of_start: int ``[S]``, the episode of each start.
        count: number of clips to draw, without repetition.
        seed: the result is a pure function of the inputs and this seed.

    Returns:
        int64 ``[count]``, sorted.

    Raises:
        DataError: fewer admissible starts than ``count``.
    """
    if len(starts) < count:
        raise DataError(
            f"clips={count}: only {len(starts)} held-out clips of this length exist; set clips to at most "
            f"{len(starts)}, or make a dataset with more or longer held-out episodes"
        )
    generator = np.random.Generator(np.random.Philox(key=[seed, 0x636C6970]))
    queues = []
    for episode in np.unique(episode_of_start):
        own = starts[episode_of_start == episode]
        queues.append(list(generator.permutation(own)))
    chosen: list[int] = []
    while len(chosen) < count:
        for index in generator.permutation(len(queues)):
            if queues[index] and len(chosen) < count:
                chosen.append(int(queues[index].pop()))
    return np.array(sorted(chosen), dtype=np.int64)


def mean_frame_indices(episode: np.ndarray, which: Iterable[int]) -> np.ndarray:
    """Return the indices [K] of the frames of these episodes over which the mean frame is computed."""
    indices = np.flatnonzero(np.isin(episode, np.fromiter(which, np.int64)))
    return indices[:: max(1, len(indices) // MEAN_FRAME_FRAMES)]


def clip_digest(frames_of_clips: np.ndarray, starts: np.ndarray) -> str:
    """Return the SHA-256 of the starts and the pixels of the clips: equal digests mean the same test."""
    digest = hashlib.sha256(np.ascontiguousarray(starts, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(frames_of_clips).tobytes())
    return digest.hexdigest()


def episodes_of_draw(held_out: Iterable[int], draw: int, seed: int) -> np.ndarray:
    """Return the held-out episodes of a draw, int64 ascending.

    ``EVERYTHING`` has all; ``ATTEMPTS`` (every attempt of a run) and ``FINAL`` (the final verdict of a run that
    retried) have a seeded half each, and an odd one belongs to ``ATTEMPTS``.
    """
    ids = np.unique(np.fromiter(held_out, np.int64))
    if draw == EVERYTHING:
        return ids
    order = np.random.Generator(np.random.Philox(key=[seed, 0x64726177])).permutation(ids)
    of_attempts = len(ids) - len(ids) // 2
    return np.sort(order[:of_attempts] if draw == ATTEMPTS else order[of_attempts:])


def held_out_clips(
    path: Path, episode: np.ndarray, held_out: Iterable[int], *, length: int, count: int, seed: int, draw: int
) -> np.ndarray:
    """Return the first frames of a draw's clips, int64 ``[count]``, as a pure function of the arguments.

    Args:
        path: the frames file, for error messages.
        episode: ``[N]``, the episode of each frame.
        held_out: the episodes that no stage trains on.
        length: frames of a clip, context and generated ones.
        count: clips to draw.
        seed: ``clip_seed``; it determines the halves of the episodes and the clips in them.
        draw: ``EVERYTHING`` (a process that no loop started), ``ATTEMPTS`` or ``FINAL``; see `episodes_of_draw`.

    Raises:
        TooFewClipsError: the episodes of this draw hold fewer clips.
    """
    everything = tuple(held_out)
    own = episodes_of_draw(everything, draw, seed)
    starts = starts_in_episodes(episode, length, own)
    if len(starts) < count:
        raise TooFewClipsError(_too_few(path, draw, len(own), len(everything), length, len(starts), count))
    return draw_clips(starts, episode[starts], count, seed)


def _too_few(path: Path, draw: int, own: int, everything: int, length: int, found: int, count: int) -> str:
    less = f"set clips in inference.yaml to at most {found}" if found else "lower generation_steps"
    more = f"hold out more or longer episodes (held_out_fraction in profile.yaml), or {less}"
    if draw == FINAL:
        return (
            f"{path}: after a failed gate this run may retrain dynamics, and the final verdict then uses a second draw "
            f"of held-out clips, from episodes that no attempt measured. It needs {count} clips of {length} frames, "
            f"but the {_episodes(own)} reserved for it, of {everything} held out, can provide {found}. Disable retries "
            f"(--max-inference-retries 0), {more}"
        )
    what = f"the {_episodes(everything)} held out"
    if draw == ATTEMPTS:
        what = f"the {_episodes(own)} that attempts measure, of {everything} held out,"
    return f"{path}: clips={count}, but {what} can provide only {found} clips of {length} frames; {more}"


def _episodes(count: int) -> str:
    return "1 episode" if count == 1 else f"{count} episodes"
