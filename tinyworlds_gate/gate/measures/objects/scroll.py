"""How far the background scrolls from frame to frame, in whole pixels.

Axes: F frames, H x W pixels.
"""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import cell_size

CHANGED = 10.0
"""Levels of grey by which a pixel must change to count as changed."""
MOST = 40.0
"""Levels beyond which a difference counts no more: an object covers a pixel or not."""
LEAST_CHANGED = 0.015
"""Share of the frame that changes where a background scrolls; below it only objects move."""
CANDIDATES = 4
ALWAYS = 0.75
"""A pixel that keeps its grey in this share of the frames is fixed to the screen; it may contradict a scroll."""
UNEXPLAINED = 0.5
"""Share of the change that a scroll may leave unexplained."""
CONTRADICTED = 0.25
"""Weight of a pixel that did not change but should have, against one that changed."""
PER_FRAME_SIDE = 0.375
"""Added for a shift by a whole frame: of two shifts that explain the same, the smaller one."""

USUAL = 0.05
"""Share of all scrolling steps from which a shift is a usual one: games scroll by few different ones."""
USUAL_UNEXPLAINED = 0.65
"""Share of the change that a usual shift may leave unexplained."""
UNUSUAL_BETTER = 0.15
"""By which an unusual shift must explain more than any usual one."""

Shift = tuple[int, int]


def usual_shifts(offsets: list[np.ndarray]) -> list[Shift]:
    """Return the shifts that are frequent among all clips, whose offsets are int [F, 2] each."""
    steps = np.concatenate([np.diff(one, axis=0) for one in offsets])
    shifts, counts = np.unique(steps[steps.any(axis=1)], axis=0, return_counts=True)
    return [(int(down), int(right)) for down, right in shifts[counts >= USUAL * counts.sum()]]


def by_usual_shifts(grey: np.ndarray, offsets: np.ndarray, usual: list[Shift]) -> np.ndarray:
    """Return the offsets with each step replaced by a usual shift, unless the own one explains more; int [F, 2].

    Single steps are ambiguous: most of the frame may look the same everywhere, or be covered by what moves.

    Args:
        grey: float [F, H, W].
        offsets: int [F, 2] from ``scroll_offsets``.
        usual: from ``usual_shifts``.
    """
    if not usual:
        return offsets
    steps, fixed = np.diff(offsets, axis=0, prepend=0), _unchanging(grey)
    for t in range(1, len(grey)):
        pair, own = _Pair(grey[t - 1], grey[t], fixed), (int(steps[t][0]), int(steps[t][1]))
        if own in usual or pair.changed.mean() < LEAST_CHANGED:
            continue
        costs = [pair.cost(shift) for shift in usual]
        best = int(np.argmin(costs))
        if own != (0, 0) and pair.cost(own) < costs[best] - UNUSUAL_BETTER:
            continue
        steps[t] = usual[best] if costs[best] < USUAL_UNEXPLAINED else 0
    return steps.cumsum(axis=0)


def _unchanging(grey: np.ndarray) -> np.ndarray:
    """The pixels that keep their grey in most frames, bool [H, W]."""
    median = np.partition(grey, (len(grey) - 1) // 2, axis=0)[(len(grey) - 1) // 2]
    return (np.abs(grey - median) <= CHANGED).mean(axis=0) >= ALWAYS


def explained_by_shift(before: np.ndarray, after: np.ndarray, shift: Shift) -> np.ndarray:
    """Return the pixels that changed between two frames, float [H, W], as a shift explains, bool [H, W]."""
    explained = np.zeros(after.shape, bool)
    to, of = _windows(shift, after.shape)
    changed = np.abs(after - before)[to] > CHANGED
    explained[to] = changed & (np.abs(after[to] - before[of]) <= CHANGED)
    return explained


def _windows(shift: Shift, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a frame that a shift reaches, and where it was before."""
    (down, right), (height, width) = shift, shape
    to = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    return to, np.s_[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]


def scroll_offsets(grey: np.ndarray) -> np.ndarray:
    """Return how far the background of each frame lies from that of the first, int [F, 2] (down, right).

    Args:
        grey: float [F, H, W].
    """
    count = len(grey)
    steps = np.zeros((count, 2), int)
    fixed = _unchanging(grey)
    search, previous = _Search(grey), None
    for t in range(1, count):
        pair = _Pair(grey[t - 1], grey[t], fixed)
        if pair.changed.mean() < LEAST_CHANGED:
            continue
        shifts = search.candidates(t) + ([previous] if previous else [])
        best = min(shifts, key=pair.cost, default=None)
        if best is not None:
            reach = max(1, search.size - 1)
            near = range(-reach, reach + 1)
            best = min(((best[0] + i, best[1] + j) for i in near for j in near), key=pair.cost)
        previous = best if best is not None and pair.cost(best) < UNEXPLAINED else None
        steps[t] = previous or (0, 0)
    return steps.cumsum(axis=0)


class _Pair:
    """Two neighbouring frames, and how well a shift of the background explains what changed between them."""

    def __init__(self, before: np.ndarray, after: np.ndarray, fixed: np.ndarray) -> None:
        self.before, self.after, self.fixed = before, after, fixed
        self.still = np.minimum(np.abs(after - before), MOST)
        self.changed = self.still > CHANGED

    def cost(self, shift: Shift) -> float:
        """0: the shift explains every change; 1 and more: it explains none."""
        if shift == (0, 0):
            return 1.0
        (down, right), (height, width) = shift, self.still.shape
        to, of = _windows(shift, self.still.shape)
        changed, still = self.changed[to], self.still[to]
        count = int(changed.sum())
        if count < 0.4 * self.changed.sum():
            return 1.0
        moved = np.abs(self.after[to] - self.before[of])
        left = np.minimum(moved, still)[changed].sum() / still[changed].sum()
        contradicted = (~changed & ~self.fixed[to] & (moved > CHANGED)).sum() / count
        return float(left + CONTRADICTED * contradicted + PER_FRAME_SIDE * max(abs(down) / height, abs(right) / width))


class _Search:
    """Finds the shifts that explain the changed cells best, all at once by Fourier transforms."""

    def __init__(self, grey: np.ndarray) -> None:
        count, height, width = grey.shape
        self.size = size = cell_size(height, width)
        rows, columns = height // size, width // size
        small = grey[:, : rows * size, : columns * size].reshape(count, rows, size, columns, size).mean(axis=(2, 4))
        self.cells, self.most = small, (rows // 3, columns // 3)
        self.shape = (rows + self.most[0], columns + self.most[1])
        self.ones = self._transform(np.ones((rows, columns)))
        self.first, self.second = self._transform(small), self._transform(small**2)
        places = [np.arange(length) for length in self.shape]
        self.places = [
            np.where(one > most, one - length, one)
            for one, most, length in zip(places, self.most, self.shape, strict=True)
        ]

    def _transform(self, table: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(table, self.shape)

    def candidates(self, t: int) -> list[Shift]:
        """Return up to four shifts in pixels, no two of them neighbours."""
        now = self.cells[t]
        changed = (np.abs(now - self.cells[t - 1]) > CHANGED / 2).astype(float)
        terms = self._transform(changed * now**2) * np.conj(self.ones)
        terms -= 2 * self._transform(changed * now) * np.conj(self.first[t - 1])
        mask = self._transform(changed)
        terms += mask * np.conj(self.second[t - 1])
        squares = np.fft.irfft2(terms, self.shape)
        inside = np.fft.irfft2(mask * np.conj(self.ones), self.shape)
        costs = np.where(inside > 0.4 * changed.sum(), squares / np.maximum(inside, 1), np.inf)
        rows, columns = self.places
        costs[np.abs(rows) > self.most[0]] = np.inf
        costs[:, np.abs(columns) > self.most[1]] = np.inf
        costs[0, 0] = np.inf
        found: list[Shift] = []
        while len(found) < CANDIDATES:
            i, j = np.unravel_index(int(np.argmin(costs)), costs.shape)
            if not np.isfinite(costs[i, j]):
                break
            down, right = int(rows[i]), int(columns[j])
            costs[np.ix_(np.abs(rows - down) <= 1, np.abs(columns - right) <= 1)] = np.inf
            found.append((down * self.size, right * self.size))
        return found
