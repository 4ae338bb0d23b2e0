"""Score single objects that are wrong in every clip: one of many costs little of the recall of all.

Objects that a model loses at random are a different number in each frame and clip. Where the same number is lost
everywhere, the loss is systematic: it varies less than chance makes it vary.

Axes: N clips, S generated frames, E episodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.compare import Comparison
from tinyworlds_gate.gate.measures.objects.scene import Scene
from tinyworlds_gate.gate.measures.objects.slices import LEAST_EPISODES, drifted_extras, is_kept, quantile
from tinyworlds_gate.gate.slice_rule import IDENTITY, PRECISION, RECALL

LEVEL = 0.001
"""One-sided, of the upper end of the spread."""


def score_identities(scene: Scene, result: Comparison, episodes: np.ndarray) -> list[dict[str, Any]]:
    """Return a row each for true objects that are lost and for generated ones that are none."""
    kept = is_kept(result)
    true, erased, extra = (
        _counts(scene, frame)
        for frame in (scene.objects.frame, result.erased.frame, result.extra.frame[~drifted_extras(scene, result)])
    )
    right = _counts(scene, scene.objects.frame[kept])
    recall = identity_row(true - right + erased, true + erased, episodes)
    precision = identity_row(extra, extra + right, episodes)
    return [{"of": of} | row for of, row in ((RECALL, recall), (PRECISION, precision)) if row]


def _counts(scene: Scene, frame: np.ndarray) -> np.ndarray:
    count, steps = scene.shape[:2]
    return np.bincount(frame, minlength=count * steps).reshape(count, steps).astype(float)


def identity_row(wrong: np.ndarray, seen: np.ndarray, episodes: np.ndarray) -> dict[str, Any] | None:
    """Return how many objects are wrong in a frame, and how evenly they are spread; counts [N, S]."""
    there = seen.any(axis=1)
    number = np.unique(episodes[there], return_inverse=True)[1]
    if not wrong.any() or number.max(initial=0) + 1 < LEAST_EPISODES:
        return None
    spread, high = _spread(wrong[there], seen[there], number)
    return {
        "slice": IDENTITY,
        "wrong_per_frame": float(wrong[there].mean()),
        "clips": int(there.sum()),
        "clips_with": int(wrong.any(axis=1).sum()),
        "spread": spread,
        "spread_high": high,
    }


def _spread(wrong: np.ndarray, seen: np.ndarray, number: np.ndarray) -> tuple[float, float]:
    """The squared deviation from the mean as a multiple of the binomial one, and its upper end over episodes.

    The mean is that of each step, so that a loss which grows with the step is not spread evenly.
    """
    rate = wrong.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    variance = seen * rate * (1 - rate)
    random = variance > 0
    off = np.square(wrong - seen * rate) / np.where(random, variance, 1) * random
    frames = np.bincount(number, random.sum(axis=1))
    of_episode = np.where(frames > 0, np.bincount(number, off.sum(axis=1)) / np.maximum(frames, 1), 1.0)
    count = len(of_episode)
    error = of_episode.std(ddof=1) / count**0.5
    return float(of_episode.mean()), float(of_episode.mean() + quantile(np.array(count - 1), LEVEL) * error)
