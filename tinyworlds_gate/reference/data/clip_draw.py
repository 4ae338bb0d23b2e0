"""The seeded, stratified draw of held-out clips: every episode gives its share before any gives a second clip."""

from __future__ import annotations

import hashlib

import numpy as np

from tinyworlds_gate.errors import DataError


def draw_clips(starts: np.ndarray, episode_of_start: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose ``count`` clip starts, spread over the episodes as evenly as their clips allow.

    Args:
        starts: int ``[S]``, every admissible start.
        episode_of_start: int ``[S]``, the episode that each start lies in.
        count: how many clips to draw, without repetition.
        seed: the draw is a pure function of the inputs and this seed.

    Returns:
        int64 ``[count]``, sorted.

    Raises:
        DataError: fewer admissible starts than ``count``.
    """
    if len(starts) < count:
        raise DataError(
            f"clips={count}: only {len(starts)} held-out clips of this length exist; ask for at most {len(starts)} "
            "clips, or make a dataset with more or longer held-out episodes"
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


def clip_digest(frames_of_clips: np.ndarray, starts: np.ndarray) -> str:
    """SHA-256 over the drawn starts and the pixels of their clips: equal digests mean the same test."""
    digest = hashlib.sha256(np.ascontiguousarray(starts, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(frames_of_clips).tobytes())
    return digest.hexdigest()
