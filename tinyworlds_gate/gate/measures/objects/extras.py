"""Objects of the generated frames that the true frames do not show, by kind: a rare one hides in the precision of all.

Axes: N clips, S generated frames, E extra regions, R true objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.compare import Comparison
from tinyworlds_gate.gate.measures.objects.kinds import Kinds, colours_of, describe_kind, features_of, group
from tinyworlds_gate.gate.measures.objects.scene import Scene


def score_extras(scene: Scene, result: Comparison, kinds: Kinds, episodes: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each kind of extra objects: how many, in how many episodes, and the precision of this kind.

    The kind is one of the true objects, or a new one of similar extras.
    """
    extra, steps, count = result.extra, scene.shape[1], scene.shape[0]
    weight, colours = colours_of(extra, result.cells, scene.background)
    features = features_of(extra, colours)
    number = kinds.of(features)
    others = np.flatnonzero(number < 0)
    if len(others):
        number[others] = len(kinds.found) + group(features[others], weight[others])[0]
    clip, of_true = extra.frame // steps, scene.objects.frame // steps
    rows = []
    for kind in np.unique(number):
        mine = number == kind
        wrong = np.bincount(clip[mine], minlength=count)
        right = np.bincount(of_true[(kinds.number == kind) & result.found], minlength=count)
        high = ratio_interval(right, right + wrong, episodes)[1]
        rows.append(
            describe_kind(scene.pixels, extra, mine, colours)
            | {
                "extra": int(wrong.sum()),
                "episodes": len(np.unique(episodes[clip[mine]])),
                "precision": float(right.sum() / (right.sum() + wrong.sum())),
                "precision_high": float(high) if np.isfinite(high) else None,
            }
        )
    return rows
