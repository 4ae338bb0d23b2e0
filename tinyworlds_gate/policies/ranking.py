"""Rank correlation of the policies' returns in the model and in the game, with a bootstrap interval.

Axes: C policies, B starts, E episodes, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.bootstrap import RESAMPLES, interval

HALVES = 200
"""Random halves of the episodes for the reliability."""


@dataclass(frozen=True)
class Ranking:
    """Spearman's correlation with its 95 % interval; ``no_difference``: on this side all returns are the same."""

    spearman: float
    low: float | None
    high: float | None
    no_difference: str | None


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties sharing their mean rank; 0 where one side has no order at all."""
    ranks = [_ranks(np.round(values, 9)) for values in (one, other)]
    centred = [values - values.mean() for values in ranks]
    size = float(np.sqrt(np.square(centred[0]).sum() * np.square(centred[1]).sum()))
    return float(np.clip(centred[0] @ centred[1] / size, -1, 1)) if size else 0.0


def rank_policies(model_CB: np.ndarray, game_CB: np.ndarray, episodes: np.ndarray, seed: int) -> Ranking:
    """Compare the mean returns of policies in the model with those in the game.

    The bootstrap draws episodes, and policies too: the policies are a sample of those that could be asked about.

    Args:
        model_CB: returns in the model.
        game_CB: returns in the game, of the same policies from the same starts.
        episodes: int [B].
        seed: of the bootstrap.
    """
    policies, _ = model_CB.shape
    means = [table.mean(axis=1) for table in (model_CB, game_CB)]
    flat = [side for side, values in zip(("the model", "the game"), means, strict=True) if np.ptp(values) < 1e-9]
    whole = spearman(*means)
    _, index_B = np.unique(episodes, return_inverse=True)
    count = int(index_B.max()) + 1
    if count < 2 or flat:
        return Ranking(whole, None, None, flat[0] if flat else None)
    generator = np.random.Generator(np.random.Philox(key=[seed, 0x72616E6B]))
    samples = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        weights_B = np.bincount(generator.integers(count, size=count), minlength=count)[index_B]
        chosen = generator.integers(policies, size=policies)
        one, other = ((table[chosen] @ weights_B) / weights_B.sum() for table in (model_CB, game_CB))
        samples[number] = spearman(one, other)
    low, high = interval(samples)
    return Ranking(whole, min(low, whole), max(high, whole), None)


def reliability(game_CB: np.ndarray, episodes: np.ndarray, seed: int) -> float | None:
    """Return the mean rank correlation of the game's returns on two random halves of the episodes.

    No model can be expected to reach more on half as many starts. None: there is one episode only.
    """
    ids, index_B = np.unique(episodes, return_inverse=True)
    if len(ids) < 2:
        return None
    generator = np.random.Generator(np.random.Philox(key=[seed, 0x68616C66]))
    found = []
    for _ in range(HALVES):
        first = generator.permutation(len(ids))[: len(ids) // 2]
        in_first = np.isin(index_B, first)
        found.append(spearman(game_CB[:, in_first].mean(axis=1), game_CB[:, ~in_first].mean(axis=1)))
    return float(np.mean(found))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value from 0; equal ones share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    shared: np.ndarray = (last - (counts + 1) / 2)[index]
    return shared
