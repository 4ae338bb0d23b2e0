"""How the parts of a picture moved between the context frames of a clip, without any model.

Candidates are the strongest peaks of phase correlations of the last two frames, of the whole picture and of overlapping
blocks. A pixel belongs to the candidate by which its surroundings repeat the frame before.

Axes: P context frames, H height, W width, L motions, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

GREY = np.array([0.37, 0.41, 0.22], np.float32)
"""Weights of the colours; few colours of a game have the same grey."""
MOST_MOTIONS, MOST_CANDIDATES = 5, 14
BLOCKS = (2, 4)
"""Blocks have these shares of the side, and overlap by half."""
LARGEST_ERROR = 40.0**2
"""Squared levels; a larger difference is as wrong."""
EXPLAINED, NEARLY = 2.0**2, 0.75
"""Squared levels up to which a place is explained, and the share of the most such places that no motion needs."""
WORTH = 0.04
"""Share of the error of the first motion that another one must explain."""
CUT_WORTH = 0.01
"""Share of the error of no motion that another region must explain."""
POOLED = 36
"""Candidates are compared on a picture of about this many pixels along a side."""
NEAR = 0.7
"""Standard deviation of the surroundings in pixels."""
UNKNOWN_ERROR = 8.0**2
"""The same where a region was outside the picture."""
EVEN, NEARLY_AS_GOOD = 12, 0.8
"""A cut at a multiple of this share of the side is preferred, where it explains nearly as much."""
MOST_REGIONS, NARROWEST = 9, 4
"""Rectangles, and their smallest side in pixels."""
BETTER = 1.5
"""By this factor the first motion is worse where another one is clearly better."""
FRAMES_BACK = 3
"""Most frames over which a speed is measured."""
SAMPLES = 512
"""Pixels of a part that are compared to measure its speed."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture, in which everything moves at this speed ``[2]`` (down, right; pixels a frame)."""

    rows: slice
    columns: slice
    speed_2: np.ndarray


@dataclass(frozen=True)
class Motions:
    """How the last frame moves: two views of it.

    ``regions`` cover the picture. ``part_HW`` is the number of the motion, of speed ``speed_L2``, that each pixel has:
    0, the motion that explains most of the picture, wherever it may be, so that the others are objects.
    """

    regions: list[Region]
    speed_L2: np.ndarray
    part_HW: np.ndarray


def find_motions(context_PHWC: np.ndarray) -> Motions | None:
    """Return the motions of uint8 context frames; None: the last one is the same as the one before, or the only one."""
    if len(context_PHWC) < 2 or np.array_equal(context_PHWC[-1], context_PHWC[-2]):
        return None
    grey = context_PHWC[-1 - FRAMES_BACK :].astype(np.float32) @ _grey(context_PHWC.shape[-1])
    candidates = _candidates(grey[-2], grey[-1])
    errors = [_differences(grey[-2], grey[-1], by) for by in candidates]
    chosen = _chosen([_pooled(*one) for one in errors])
    part = _parts([errors[index] for index in chosen])
    speeds = []
    for number, index in enumerate(chosen):
        rows, columns = np.nonzero(part == number)
        speeds.append(_speed(grey, rows, columns, candidates[index]))
    return Motions(_regions(grey, candidates, errors), np.stack(speeds), part)


def _regions(
    grey_PHW: np.ndarray, candidates: list[tuple[int, int]], errors: list[tuple[np.ndarray, np.ndarray]]
) -> list[Region]:
    """Return the picture cut again and again into two rectangles, where that explains more by two motions."""
    tables = np.stack([np.where(inside, error, UNKNOWN_ERROR) for error, inside in errors])
    sums = np.zeros((len(tables), tables.shape[1] + 1, tables.shape[2] + 1))
    np.cumsum(np.cumsum(tables, axis=1, dtype=np.float64), axis=2, out=sums[:, 1:, 1:])
    whole = (0, tables.shape[1], 0, tables.shape[2])
    least = CUT_WORTH * float(_total(sums, whole)[0])
    todo, done = [(whole, _best_cut(sums, whole))], list[tuple[int, int, int, int]]()
    while todo:
        todo.sort(key=lambda one: -one[1][0])
        (top, bottom, left, right), (gain, axis, at) = todo.pop(0)
        if gain <= least or len(todo) + len(done) + 2 > MOST_REGIONS:
            done.append((top, bottom, left, right))
            continue
        halves = [(top, at, left, right), (at, bottom, left, right)]
        if axis == 1:
            halves = [(top, bottom, left, at), (top, bottom, at, right)]
        todo += [(half, _best_cut(sums, half)) for half in halves]
    found = []
    for top, bottom, left, right in done:
        by = candidates[int(np.argmin(_total(sums, (top, bottom, left, right))))]
        rows, columns = (one.ravel() for one in np.mgrid[top:bottom, left:right])
        found.append(Region(slice(top, bottom), slice(left, right), _speed(grey_PHW, rows, columns, by)))
    return found


def _total(sums_NHW: np.ndarray, ends: tuple[int, int, int, int]) -> np.ndarray:
    """Return the error of each candidate in a rectangle (top, bottom, left, right)."""
    top, bottom, left, right = ends
    total: np.ndarray = sums_NHW[:, bottom, right] - sums_NHW[:, top, right]
    total -= sums_NHW[:, bottom, left] - sums_NHW[:, top, left]
    return total


def _best_cut(sums_NHW: np.ndarray, ends: tuple[int, int, int, int]) -> tuple[float, int, int]:
    """Return by how much the best cut of a rectangle lowers the error, its axis and its place."""
    top, bottom, left, right = ends
    whole = _total(sums_NHW, ends)
    best = (0.0, 0, 0)
    for axis, (low, high) in enumerate(((top, bottom), (left, right))):
        size, places = sums_NHW.shape[1 + axis] - 1, np.arange(low + NARROWEST, high - NARROWEST + 1)
        if not len(places):
            continue
        if axis == 0:
            before = sums_NHW[:, places, right] - sums_NHW[:, places, left]
            before -= (sums_NHW[:, top, right] - sums_NHW[:, top, left])[:, None]
        else:
            before = sums_NHW[:, bottom, places] - sums_NHW[:, top, places]
            before -= (sums_NHW[:, bottom, left] - sums_NHW[:, top, left])[:, None]
        gains = whole.min() - before.min(axis=0) - (whole[:, None] - before).min(axis=0)
        number = int(np.argmax(gains))
        even = (places * EVEN + size // 2) // size * size // EVEN == places
        if even.any() and gains[even].max() >= NEARLY_AS_GOOD * gains[number]:
            number = int(np.flatnonzero(even)[np.argmax(gains[even])])
        if gains[number] > best[0]:
            best = (float(gains[number]), axis, int(places[number]))
    return best


def _grey(colours: int) -> np.ndarray:
    return GREY if colours == len(GREY) else np.full(colours, 1 / colours, np.float32)


def _candidates(before: np.ndarray, last: np.ndarray) -> list[tuple[int, int]]:
    """Return displacements (down, right), none first, then the most frequent ones up to a quarter of the picture."""
    votes = {(0, 0): 1e6}
    peaks = [(one, 1e3 - rank) for rank, one in enumerate(_peaks(before[None], last[None], 4))]
    for share in BLOCKS:
        tall, wide = (max(4, size // share) for size in last.shape)
        blocks = [_blocks(one, tall, wide) for one in (before, last)]
        moving = (blocks[0] != blocks[1]).any(axis=(1, 2))
        if moving.any():
            peaks += [(one, 1.0) for one in _peaks(blocks[0][moving], blocks[1][moving], 2)]
    for one, weight in peaks:
        if any(4 * abs(by) > size for by, size in zip(one, last.shape, strict=True)):
            continue
        votes[one] = votes.get(one, 0.0) + weight
    return sorted(votes, key=lambda one: -votes[one])[:MOST_CANDIDATES]


def _blocks(frame: np.ndarray, tall: int, wide: int) -> np.ndarray:
    """Return all blocks ``[blocks, tall, wide]`` at half their size from each other."""
    views = np.lib.stride_tricks.sliding_window_view(frame, (min(tall, len(frame)), min(wide, frame.shape[1])))
    chosen = views[:: max(1, tall // 2), :: max(1, wide // 2)]
    return np.ascontiguousarray(chosen.reshape(-1, *chosen.shape[2:]))


def _peaks(before: np.ndarray, last: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Return the strongest displacements of each block ``[blocks, tall, wide]``."""
    one, other = (np.fft.rfft2(frames - frames.mean(axis=(1, 2), keepdims=True)) for frames in (last, before))
    cross = one * other.conj()
    found = np.fft.irfft2(cross / (np.abs(cross) + 1e-6 * np.abs(cross).max() + 1e-9), s=last.shape[1:])
    tall, wide = last.shape[1:]
    flat = found.reshape(len(found), -1)
    places = np.argpartition(flat, -min(most, flat.shape[1]), axis=1)[:, -most:]
    if len(places) == 1:
        places = places[:, np.argsort(-flat[0, places[0]])]
    down, right = (one.ravel() for one in np.unravel_index(places, (tall, wide)))
    down, right = (np.where(one > size // 2, one - size, one) for one, size in ((down, tall), (right, wide)))
    return list(zip(down.tolist(), right.tolist(), strict=True))


def _differences(before: np.ndarray, last: np.ndarray, by: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared differences where both frames overlap, and 1 there, 0 elsewhere."""
    (rows, rows_before), (columns, columns_before) = (
        (slice(max(0, one), size + min(0, one)), slice(max(0, -one), size + min(0, -one)))
        for one, size in zip(by, last.shape, strict=True)
    )
    error, inside = np.zeros_like(last), np.zeros_like(last)
    difference = last[rows, columns] - before[rows_before, columns_before]
    np.minimum(difference * difference, LARGEST_ERROR, out=error[rows, columns])
    inside[rows, columns] = 1
    return error, inside


def _pooled(error: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the mean error of each cell of a coarse grid and its surroundings; as wrong as can be where unknown."""
    side = max(1, max(error.shape) // POOLED)
    if side > 1:
        error, inside = (
            np.add.reduceat(np.add.reduceat(one, np.arange(0, len(one), side), 0), np.arange(0, one.shape[1], side), 1)
            for one in (error, inside)
        )
    smoothed = _smoothed(error, inside)
    smoothed[inside * 2 < side * side] = LARGEST_ERROR
    return smoothed


def _smoothed(error: np.ndarray, inside: np.ndarray) -> np.ndarray:
    down, across = (gaussian(size, NEAR) for size in error.shape)
    smoothed: np.ndarray = (down @ error @ across) / (down @ inside @ across + 1e-6)
    return smoothed


def _chosen(errors: list[np.ndarray]) -> list[int]:
    """Return the numbers of the candidates that explain the picture, each new one a worthwhile share of it.

    The first, no motion, is the first one where it explains nearly as much of the picture as any other.
    """
    explained = [int((one < EXPLAINED).sum()) for one in errors]
    first = 0 if explained[0] >= NEARLY * max(explained) else int(np.argmax(explained))
    found, total = [first], float(errors[first].sum())
    best = errors[first]
    while len(found) < MOST_MOTIONS:
        gains = [float((best - one).clip(0).sum()) for one in errors]
        number = int(np.argmax(gains))
        if gains[number] <= WORTH * total:
            break
        found.append(number)
        best = np.minimum(best, errors[number])
    return found


def _parts(found: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return for each pixel the number of the motion that explains it.

    Another motion than the first has to explain it clearly better, or as well between places that it explains better.
    """
    part = np.zeros(found[0][0].shape, np.uint8)
    if len(found) == 1:
        return part
    errors = [_smoothed(*one) for one in found]
    best = np.argmin(errors[1:], axis=0) + 1
    smallest = np.min(errors[1:], axis=0)
    clear = errors[0] > BETTER * smallest + EXPLAINED
    part[clear] = best[clear]
    for number in range(1, len(found)):
        own = part == number
        if own.any():
            part[_between(own) & (errors[number] <= np.minimum(errors[0], smallest) + EXPLAINED) & ~clear] = number
    return part


def _between(mask: np.ndarray) -> np.ndarray:
    """Return the places between two places of the mask in their row or their column."""
    found = np.zeros_like(mask)
    for axis in (0, 1):
        ahead = np.logical_or.accumulate(mask, axis=axis)
        back = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
        found |= ahead & back
    return found


def _speed(grey_PHW: np.ndarray, rows: np.ndarray, columns: np.ndarray, by: tuple[int, int]) -> np.ndarray:
    """Return the mean motion ``[2]`` of these pixels of the last frame over all frames, near the last motion."""
    count, (height, width) = len(grey_PHW) - 1, grey_PHW.shape[1:]
    if count < 2 or not len(rows):
        return np.array(by, float)
    every = max(1, len(rows) // SAMPLES)
    rows, columns = rows[::every], columns[::every]
    last, first = grey_PHW[-1][rows, columns], grey_PHW[0]

    def error(down: int, right: int) -> float:
        row, column = rows - down, columns - right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        if inside.sum() * 4 < len(rows):
            return float(np.inf)
        return float(np.square(last[inside] - first[row[inside], column[inside]]).mean())

    straight = error(count * by[0], count * by[1])
    if straight <= EXPLAINED:
        return np.array(by, float)
    reach = range(1 - count, count)
    moves = [(count * by[0] + down, count * by[1] + right) for down, right in product(reach, reach)]
    errors = [error(*move) for move in moves]
    best = int(np.argmin(errors))
    return np.array(moves[best], float) / count if 2 * errors[best] < straight else np.array(by, float)


@lru_cache(maxsize=64)
def gaussian(size: int, spread: float) -> np.ndarray:
    """Return ``[size, size]``: weights of a Gaussian around each place, whose largest one is 1."""
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    return np.exp(-np.square(distance / max(spread, 0.3)) / 2).astype(np.float32)
