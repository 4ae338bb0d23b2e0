"""Connected regions of a mask, with their sizes, places and sums.

Axes: M frames, h x w cells, R regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Regions:
    """The regions of a mask: ``labels`` int [M, h, w], 0 outside, 1 to R inside; the arrays are [R]."""

    labels: np.ndarray
    frame: np.ndarray
    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    area: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def total(self, table: np.ndarray) -> np.ndarray:
        """Return the sum of a table [M, h, w] over each region, [R]."""
        cells, label = self._inside
        return np.bincount(label, table.ravel()[cells], len(self))

    def highest(self, table: np.ndarray) -> np.ndarray:
        """Return the largest value of a table [M, h, w] in each region, [R]."""
        cells, label = self._inside
        top = np.zeros(len(self))
        np.maximum.at(top, label, table.ravel()[cells])
        return top

    @cached_property
    def _inside(self) -> tuple[np.ndarray, np.ndarray]:
        """The cells of all regions, in the flat table, and the place of each one's region."""
        cells = np.flatnonzero(self.labels)
        return cells, self.labels.ravel()[cells] - 1

    def only(self, chosen: np.ndarray) -> Regions:
        """Return the regions of a mask [R], numbered anew."""
        number = np.concatenate([[0], np.where(chosen, chosen.cumsum(), 0)])
        rest = (one[chosen] for one in (self.frame, self.top, self.left, self.height, self.width, self.area))
        return Regions(number[self.labels], *rest)


def find_regions(mask: np.ndarray) -> Regions:
    """Return the regions of cells that touch by a side or a corner; mask bool [M, h, w]."""
    cells = np.flatnonzero(mask)
    number = np.full(mask.shape, -1, np.int64)
    number.ravel()[cells] = np.arange(len(cells))
    pairs = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, columns = mask.shape[1] - down, mask.shape[2]
        one = number[:, :rows, max(0, -right) : columns - max(0, right)]
        other = number[:, down:, max(0, right) : columns - max(0, -right)]
        both = (one >= 0) & (other >= 0)
        pairs.append(np.stack([one[both], other[both]]))
    roots, label = np.unique(_roots(len(cells), np.concatenate(pairs, axis=1)), return_inverse=True)
    labels = np.zeros(mask.shape, np.int64)
    labels.ravel()[cells] = label + 1
    frame, row, column = np.unravel_index(cells, mask.shape)
    ends = []
    for places in (row, column):
        low, high = np.full(len(roots), 1 << 30), np.full(len(roots), -1)
        np.minimum.at(low, label, places)
        np.maximum.at(high, label, places)
        ends.append((low, high - low + 1))
    (top, height), (left, width) = ends
    first = frame[np.unique(label, return_index=True)[1]] if len(roots) else frame
    return Regions(labels, first, top, left, height, width, np.bincount(label, minlength=len(roots)))


def _roots(count: int, pairs: np.ndarray) -> np.ndarray:
    """The smallest member of each cell's region, by hooking larger roots to smaller ones until no pair differs."""
    parent = np.arange(count)
    while True:
        one, other = parent[pairs[0]], parent[pairs[1]]
        differ = one != other
        if not differ.any():
            return parent
        np.minimum.at(parent, np.maximum(one, other)[differ], np.minimum(one, other)[differ])
        while not np.array_equal(parent, above := parent[parent]):
            parent = above
