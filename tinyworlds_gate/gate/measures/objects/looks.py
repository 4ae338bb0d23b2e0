"""Whether found objects look as they should inside: neither mirrored nor like another look of their kind.

A sprite that faces backwards, or a step of a walk that never changes, keeps most of its contrast and its mean colour.

Axes: N clips, S generated frames, h x w cells, R objects, L looks, W x W cells of a window, D displacements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.compare import TOLERATED, Comparison
from tinyworlds_gate.gate.measures.objects.kinds import Kinds
from tinyworlds_gate.gate.measures.objects.rare import upper_end
from tinyworlds_gate.gate.measures.objects.regions import Regions
from tinyworlds_gate.gate.measures.objects.scene import Scene

LEAST_SIDE, MOST_SIDE = 4, 20
"""Cells of an object's height and width: smaller ones have no inside, larger ones are none of these sprites."""
OTHER = 0.05
"""Share of its squared contrast by which another look differs at least, wherever it is laid on the object."""
NEARER = 0.5
"""Another look is shown if it leaves less than this share of the squared error that the true look leaves."""
MOST_LOOKS = 6
SAMPLED = 60
"""Objects of a kind whose looks are gathered."""
MOST_OBJECTS = 2000
MIRRORED, LIKE_OTHERS = "mirrored", "like_others"


def score_looks(scene: Scene, result: Comparison, kinds: Kinds, episodes: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for mirrored objects and one for those with another look of their kind; none without sprites.

    ``judged``: objects of which another look differs enough to be told apart; ``wrong``: those that have it.
    """
    objects, steps = scene.objects, scene.shape[1]
    side = np.maximum(objects.height, objects.width)
    sprites = np.flatnonzero(
        result.found & (np.minimum(objects.height, objects.width) >= LEAST_SIDE) & (side <= MOST_SIDE)
    )
    sprites = sprites[:: -(-len(sprites) // MOST_OBJECTS) or 1]
    flat = (-1, *scene.shape[2:], 3)
    true, made = ((one - result.background).reshape(flat) for one in (result.true, result.cells))
    true, made = (np.pad(one, ((0, 0), (2, 2), (2, 2), (0, 0))) for one in (true, made))
    looks = dict(_looks_of_kinds(objects, kinds, sprites, true))
    counts = {name: np.zeros((2, len(episodes))) for name in (MIRRORED, LIKE_OTHERS)}
    for number in sprites.tolist():
        own, shown = _window(objects, number, true, 0), _window(objects, number, made, 1)
        clip = int(objects.frame[number]) // steps
        mirrors = [own[::-1], own[:, ::-1], own[::-1, ::-1]]
        others = looks.get(int(kinds.number[number]), [])
        for name, those in ((MIRRORED, mirrors), (LIKE_OTHERS, [_fitted(one, own.shape) for one in others])):
            wrong = _looks_like(own, shown, those)
            if wrong is not None:
                counts[name][:, clip] += wrong, 1
    return [row for name, (wrong, seen) in counts.items() if (row := _row(name, wrong, seen, episodes))]


def _row(name: str, wrong: np.ndarray, seen: np.ndarray, episodes: np.ndarray) -> dict[str, Any] | None:
    if not seen.any():
        return None
    high, count = ratio_interval(seen - wrong, seen, episodes)[1], len(np.unique(episodes[seen > 0]))
    if not np.isfinite(high):  # a jackknife over episodes that are all the same has no width
        high = upper_end(float(1 - wrong.sum() / seen.sum()) * count, count)
    return {
        "looks": name,
        "judged": int(seen.sum()),
        "wrong": int(wrong.sum()),
        "episodes": count,
        "right_high": min(1.0, float(high)),
    }


def _window(objects: Regions, number: int, frames: np.ndarray, margin: int) -> np.ndarray:
    """Return an object's box and one cell around it, [H + 2, W + 2, 3], with a further margin; frames have two more."""
    frame, top, left = (int(one[number]) for one in (objects.frame, objects.top, objects.left))
    high, wide = int(objects.height[number]), int(objects.width[number])
    rows, columns = slice(top + 1 - margin, top + 3 + high + margin), slice(left + 1 - margin, left + 3 + wide + margin)
    window: np.ndarray = frames[frame, rows, columns]
    return window


def _displaced(shown: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the generated window at displacements of half cells, up to one cell, [D, H, W, 3]."""
    half_rows = (shown[1:] + shown[:-1]) / 2
    lines = [shown[i : i + height] for i in range(3)] + [half_rows[i : i + height] for i in range(2)]
    views = []
    for line in lines:
        half = (line[:, 1:] + line[:, :-1]) / 2
        views += [line[:, i : i + width] for i in range(3)] + [half[:, i : i + width] for i in range(2)]
    return np.stack(views)


def _cost(views: np.ndarray, look: np.ndarray) -> float:
    return float(np.square(views - look).sum(axis=(1, 2, 3)).min())


def _looks_like(own: np.ndarray, shown: np.ndarray, others: list[np.ndarray]) -> bool | None:
    """Return whether an object shows another look rather than its own; None: no look differs enough to tell."""
    height, width = own.shape[:2]
    energy = float(np.square(own).sum())
    around = _displaced(np.pad(own, ((1, 1), (1, 1), (0, 0))), height, width)
    others = [one for one in others if _cost(around, one) >= OTHER * energy]
    if not others:
        return None
    views = _displaced(shown, height, width)
    cost = _cost(views, own)
    least = own.shape[0] * own.shape[1] * TOLERATED**2
    return cost > least and min(_cost(views, one) for one in others) < NEARER * cost


def _looks_of_kinds(
    objects: Regions, kinds: Kinds, sprites: np.ndarray, true: np.ndarray
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield the looks [H, W, 3] of each kind that differ from each other."""
    for kind in np.unique(kinds.number[sprites]).tolist():
        members = sprites[kinds.number[sprites] == kind]
        looks: list[np.ndarray] = []
        for number in members[:: -(-len(members) // SAMPLED)].tolist():
            own = _window(objects, number, true, 0)
            around = _displaced(np.pad(own, ((1, 1), (1, 1), (0, 0))), *own.shape[:2])
            least = OTHER * float(np.square(own).sum())
            is_new = all(_cost(around, _fitted(one, own.shape)) >= least for one in looks)
            if is_new and len(looks) < MOST_LOOKS:
                looks.append(own)
        if kind >= 0 and len(looks) > 1:
            yield kind, looks


def _fitted(look: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a look in the middle of a window of another size, cut or with nothing around it."""
    fitted = np.zeros(shape, look.dtype)
    into, of = [], []
    for size, own in zip(shape[:2], look.shape[:2], strict=True):
        both = min(size, own)
        into.append(slice((size - both) // 2, (size - both) // 2 + both))
        of.append(slice((own - both) // 2, (own - both) // 2 + both))
    fitted[tuple(into)] = look[tuple(of)]
    return fitted
