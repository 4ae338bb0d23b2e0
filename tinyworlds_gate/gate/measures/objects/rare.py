"""The share of rare events that a model has, with the upper end of an exact binomial 95 % bound over episodes.

Few events leave no room for a jackknife: where none or one is found, its interval is empty or unknown.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LEVEL = 0.05
"""Chance of so few hits at the upper end."""


def rare_share(clip: np.ndarray, hits: np.ndarray, generated: np.ndarray, episodes: np.ndarray) -> dict[str, Any]:
    """Return counts and the upper end of the share that a model has.

    An event that it has in its place counts, and so does each of its own in an episode, whichever are more: where
    events are random, their places cannot be known, their number can.

    Args:
        clip: int, of each true event.
        hits: bool, of each true event.
        generated: int, the clip of each event in the generated frames.
        episodes: int [N].
    """
    names, of_clip = np.unique(episodes, return_inverse=True)
    count = len(names)
    true = np.bincount(of_clip[clip], minlength=count)
    own = np.bincount(of_clip[generated], minlength=count)
    found = np.bincount(of_clip[clip], hits, count)
    return {
        "events": int(true.sum()),
        "episodes": int((true > 0).sum()),
        "found": int(found.sum()),
        "generated": int(own.sum()),
        "high": max(_upper(found, true), _upper(own, true)),
    }


def _upper(had: np.ndarray, true: np.ndarray) -> float:
    """The upper end over episodes: each counts one trial, at most."""
    trials = int((true > 0).sum())
    if not trials:
        return 1.0
    share = min(1.0, float(had.sum() / true.sum()))
    return upper_end(share * trials, trials)


def upper_end(hits: float, trials: int, level: float = LEVEL) -> float:
    """Return the share at which so few hits have this chance, by bisection; ``hits`` is rounded up."""
    hits = min(trials, math.ceil(hits - 1e-9))
    if hits == trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        chance = sum(math.comb(trials, k) * middle**k * (1 - middle) ** (trials - k) for k in range(hits + 1))
        low, high = (middle, high) if chance > level else (low, middle)
    return high
