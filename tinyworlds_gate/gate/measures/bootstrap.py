"""95 % bootstrap intervals over episodes: clips of one episode are not independent, episodes are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def episode_sums(
    values_by_name: Mapping[str, np.ndarray], episodes: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Sum each clip-wise array over the clips of every episode.

    Args:
        values_by_name: arrays ``[B]``, one value a clip.
        episodes: int ``[B]``, the episode of each clip.

    Returns:
        The sums ``[E]`` by name, and the number of clips ``[E]`` of each episode.
    """
    _, index = np.unique(episodes, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    return {name: np.bincount(index, weights=values) for name, values in values_by_name.items()}, counts


def resampled_means(
    values_by_name: Mapping[str, np.ndarray], episodes: np.ndarray, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:
    """Clip means ``[resamples]`` under resampling of episodes with replacement, the same draw for all names."""
    sums, counts = episode_sums(values_by_name, episodes)
    generator = np.random.Generator(np.random.Philox(key=[seed, 0x626F6F74]))
    draws = generator.integers(0, len(counts), size=(resamples, len(counts)))
    clips = counts[draws].sum(axis=1)
    return {name: total[draws].sum(axis=1) / clips for name, total in sums.items()}


def interval(samples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of resampled values; NaN at both ends when one of them is not finite."""
    if not np.isfinite(samples).all():
        return math.nan, math.nan
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(samples, [tail, 1.0 - tail])
    return float(low), float(high)
