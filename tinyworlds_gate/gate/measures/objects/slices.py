"""Recall and precision within steps, places and kinds, against the rest: a hole that the average over all hides.

Axes: E episodes, B bins (steps, or places on a grid), L slices (sets of bins), R occasions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.compare import Comparison
from tinyworlds_gate.gate.measures.objects.kinds import Kinds
from tinyworlds_gate.gate.measures.objects.rare import upper_end
from tinyworlds_gate.gate.measures.objects.regions import Regions
from tinyworlds_gate.gate.measures.objects.scene import Scene
from tinyworlds_gate.gate.slice_rule import EVERY, KIND, LEAST_OF_REST, PLACE, PRECISION, RECALL, STEPS

LEAST_OCCASIONS = 30
LEAST_OTHERS = 15
"""Occasions in what a slice is compared with."""
LEAST_EPISODES = 5
LEVEL = 0.005
"""One-sided, of each slice: 5 % over ten independent ones. The slices overlap, and no healthy model is near the limit
(simulated in docs/gate.md)."""
NEAR = 2.0
"""Cells: what is no further from its place drifts, and is in no hole."""
BESIDE = 2
"""Steps on each side with which a run of steps is compared, so that a gradual fall is no hole."""
MOST_PERIOD = 6
GRID = 8
"""Fields of the frame, on each side."""
RINGS = (1, 2)
"""Fields from the edge of the frame."""
FEW = 15
"""Episodes up to which the exact binomial bound is taken where it is the narrower one."""


@dataclass(frozen=True)
class Occasions:
    """Objects that a model may have right or wrong."""

    episode: np.ndarray
    """int [R]: 0 to E - 1."""
    step: np.ndarray
    """int [R]."""
    field: np.ndarray
    """int [R]: of the grid, row by row."""
    right: np.ndarray
    """bool [R]."""
    groups: Sequence[np.ndarray]
    """For each family of kinds, the kind of each object, int [R]."""


@dataclass(frozen=True)
class _Axis:
    names: list[dict[str, Any]]
    inside: np.ndarray
    """bool [L, B]."""
    rest: np.ndarray
    """bool [L, B]: the bins with which a slice is compared."""


OF_KINDS = _Axis([{"slice": KIND}], np.array([[True, False]]), np.array([[False, True]]))
"""A kind, in the first bin, and the others."""


def score_slices(
    scene: Scene, result: Comparison, families: Sequence[Kinds], of_extra: Sequence[np.ndarray], episodes: np.ndarray
) -> list[dict[str, Any]]:
    """Return a row for each kind and axis in which a slice reaches less than it should: the one that loses most.

    Args:
        families: kinds of the objects; the first by size and colour, others by one of them.
        of_extra: for each family, the kind of each extra object, int [E].
        episodes: int [N].
    """
    _, steps, height, width = scene.shape
    size = height * scene.pixels, width * scene.pixels
    number = np.unique(episodes, return_inverse=True)[1]
    names = [family.found for family in families]
    both = _occasions(scene, result, families, of_extra, number)
    return [{"of": of} | row for of, occasions in both.items() for row in slice_rows(occasions, names, steps, size)]


def slice_rows(
    occasions: Occasions, names: Sequence[Sequence[dict[str, Any]]], steps: int, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Return the rows of ``score_slices``; ``names`` of the kinds of each family, ``size`` of the frame in pixels."""
    axes = ((occasions.step, _step_slices(steps)), (occasions.field, _place_slices(*size)))
    everything = np.ones(len(occasions.right), bool)
    rows = []
    for name, chosen, is_compared in _groups(names, occasions):
        for bins, axis in axes:
            rows += _worst(axis, *_tables(occasions, chosen, bins, axis.inside.shape[1]), name)
        if is_compared:
            rows += _worst(OF_KINDS, *_tables(occasions, everything, (~chosen).astype(int), 2), name)
    return rows


def is_kept(result: Comparison) -> np.ndarray:
    """Return which true objects are found in or near their place, bool [R]."""
    return result.found | (result.distance <= NEAR)


def drifted_extras(scene: Scene, result: Comparison) -> np.ndarray:
    """Return which extra objects are true ones that drifted from their place, bool [E]."""
    drifted = np.zeros(len(result.extra), bool)
    middle, of_extra = _middle(scene.objects), _middle(result.extra)
    for one in np.flatnonzero(~result.found & (result.distance <= NEAR)):
        near = np.abs(of_extra - middle[one]).max(axis=1) <= 2 * NEAR
        drifted |= near & (result.extra.frame == scene.objects.frame[one])
    return drifted


def quantile(freedom: np.ndarray, level: float) -> np.ndarray:
    """Return Student's upper quantile of this level (approximation of Wallace, 1959)."""
    z = NormalDist().inv_cdf(1 - level) * (8 * freedom + 3) / (8 * freedom + 1)
    return np.sqrt(freedom * np.expm1(np.square(z) / freedom))


def _occasions(
    scene: Scene, result: Comparison, families: Sequence[Kinds], of_extra: Sequence[np.ndarray], episode: np.ndarray
) -> dict[str, Occasions]:
    objects, steps = scene.objects, scene.shape[1]
    kept = is_kept(result)
    field = _field(scene, objects)
    of_true = [family.number for family in families]
    recall = Occasions(episode[objects.frame // steps], objects.frame % steps, field, kept, of_true)
    wrong = ~drifted_extras(scene, result)
    frame = np.concatenate([objects.frame[kept], result.extra.frame[wrong]])
    precision = Occasions(
        episode[frame // steps],
        frame % steps,
        np.concatenate([field[kept], _field(scene, result.extra)[wrong]]),
        np.arange(len(frame)) < kept.sum(),
        [np.concatenate([one[kept], other[wrong]]) for one, other in zip(of_true, of_extra, strict=True)],
    )
    return {RECALL: recall, PRECISION: precision}


def _middle(regions: Regions) -> np.ndarray:
    return np.stack([regions.top + regions.height / 2, regions.left + regions.width / 2], axis=1)


def _field(scene: Scene, regions: Regions) -> np.ndarray:
    row, column = (_middle(regions) / scene.shape[2:] * GRID).astype(int).T
    return np.minimum(row, GRID - 1) * GRID + np.minimum(column, GRID - 1)


def _groups(
    names: Sequence[Sequence[dict[str, Any]]], occasions: Occasions
) -> Iterator[tuple[dict[str, Any], np.ndarray, bool]]:
    """All objects and each kind: its name, its members, and whether it is compared with the other kinds."""
    everything = np.ones(len(occasions.right), bool)
    yield {}, everything, False
    known = {everything.tobytes()}
    for which, (family, number) in enumerate(zip(names, occasions.groups, strict=True)):
        for kind, name in enumerate(family):
            chosen = number == kind
            if chosen.sum() >= LEAST_OCCASIONS and chosen.tobytes() not in known:
                known.add(chosen.tobytes())
                yield name, chosen, which > 0


def _tables(occasions: Occasions, chosen: np.ndarray, bins: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """How many are right and how many there are, by episode and bin, float [E, B] each."""
    place = occasions.episode[chosen] * count + bins[chosen]
    length = (occasions.episode.max(initial=-1) + 1) * count
    right = np.bincount(place, occasions.right[chosen], length)
    return right.reshape(-1, count), np.bincount(place, minlength=length).reshape(-1, count).astype(float)


def _step_slices(steps: int) -> _Axis:
    """Each run of steps, and each step of a period."""
    number = np.arange(steps)
    names: list[dict[str, Any]] = []
    inside, rest = [], []
    for first in range(steps):
        for last in range(first, steps):
            within = (number >= first) & (number <= last)
            names.append({"slice": STEPS, "first": first + 1, "last": last + 1})
            inside.append(within)
            rest.append((number >= first - BESIDE) & (number <= last + BESIDE) & ~within)
    for period in range(2, min(MOST_PERIOD, steps // 2) + 1):
        for first in range(period):
            names.append({"slice": EVERY, "first": first + 1, "every": period})
            inside.append(number % period == first)
            rest.append(~inside[-1])
    return _Axis(names, np.array(inside), np.array(rest))


def _place_slices(height: int, width: int) -> _Axis:
    """Each rectangle of fields, and what is outside of the middle ones; sides in pixels."""
    names: list[dict[str, Any]] = []
    inside = []
    spans = [(low, high) for low in range(GRID) for high in range(low + 1, GRID + 1)]
    number = np.arange(GRID)
    for top, bottom in spans:
        for left, right in spans:
            within = ((number >= top) & (number < bottom))[:, None] & ((number >= left) & (number < right))
            sides: dict[str, Any] = {
                "top_px": top * height // GRID,
                "bottom_px": bottom * height // GRID - 1,
                "left_px": left * width // GRID,
                "right_px": right * width // GRID - 1,
            }
            names.append({"slice": PLACE, "outside": False} | sides)
            inside.append(within.ravel())
            if top == left and bottom == right == GRID - top and top in RINGS:
                names.append({"slice": PLACE, "outside": True} | sides)
                inside.append(~within.ravel())
    return _Axis(names, np.array(inside), ~np.array(inside))


def _worst(axis: _Axis, right: np.ndarray, seen: np.ndarray, name: dict[str, Any]) -> list[dict[str, Any]]:
    """The slice that loses most, if one is surely behind; right and seen are [E, B]."""
    inside, rest = axis.inside.T.astype(float), axis.rest.T.astype(float)
    total, others = seen.sum(axis=0) @ inside, seen.sum(axis=0) @ rest
    with np.errstate(invalid="ignore", divide="ignore"):
        share, reached = right.sum(axis=0) @ inside / total, right.sum(axis=0) @ rest / others
        enough = (total >= LEAST_OCCASIONS) & (others >= LEAST_OTHERS) & (reached >= LEAST_OF_REST)
        behind = enough & (share < LEAST_OF_REST * reached)
    behind[behind] = ((seen @ inside[:, behind]) > 0).sum(axis=0) >= LEAST_EPISODES
    if not behind.any():
        return []
    chosen = np.flatnonzero(behind)
    tables = (table @ which[:, chosen] for which in (inside, rest) for table in (right, seen))
    high = _upper_ratio(*tables)
    lost = (reached * total)[chosen] * (1 - share[chosen] / reached[chosen]) ** 2
    best = int(np.lexsort((lost, high < LEAST_OF_REST))[-1])
    if high[best] >= 1:
        return []
    row = {"sightings": int(total[chosen[best]]), "share": float(share[chosen[best]])}
    rates = {"rest": float(reached[chosen[best]]), "high": float(high[best])}
    return [name | axis.names[chosen[best]] | row | rates]


def _upper_ratio(right: np.ndarray, seen: np.ndarray, right_rest: np.ndarray, seen_rest: np.ndarray) -> np.ndarray:
    """The upper end of the ratio of two rates, float [L]; counts [E, L] in each slice and in what it is compared with.

    The interval is Student's over episodes, with one more episode in the slice that is as good as the rest: episodes
    that agree by chance have no variance.
    """
    count = (seen > 0).sum(axis=0)
    reached = right_rest.sum(axis=0) / seen_rest.sum(axis=0)
    more = seen.sum(axis=0) / count
    total = seen.sum(axis=0) + more
    share = (right.sum(axis=0) + reached * more) / total
    ratio = share / reached
    off = (right - share * seen) / total - ratio * (right_rest - reached * seen_rest) / seen_rest.sum(axis=0)
    off_more = (reached - share) * more / total
    squares = np.square(off).sum(axis=0) + np.square(off_more)
    high = ratio + quantile(count, LEVEL) * np.sqrt(squares * (count + 1) / count) / reached
    for one in np.flatnonzero(count <= FEW):
        trials = int(count[one])
        hits = float(right[:, one].sum() / seen[:, one].sum()) * trials
        high[one] = min(high[one], upper_end(hits, trials, LEVEL) / reached[one])
    return high
