"""Which clips show another one mirrored, turned or with exchanged colours, as an augmenting data loader makes them.

Axes: B clips, T frames, H height, W width, C colours, Y and X cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

SIDE = 8
"""Cells along each side."""
SAME_SHARE = 0.1
"""Of the variance of a clip over time: a smaller mean squared difference is the same clip."""
LEAST_VARIANCE = 1.0
"""Levels squared; stiller clips are not compared."""
USUAL = 0.5
"""Share of the clips that are such pictures of others, from which they are no coincidence of a symmetric game."""


def augmented_pairs(frames_BTHWC: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of clips (first, later) that are pictures of one another.

    None if few clips have a picture, or the frames have less than 8 px.
    """
    if min(frames_BTHWC.shape[2:4]) < SIDE:
        return []
    cells = _cells(frames_BTHWC)
    count, variance_B = len(cells), cells.var(axis=1).mean(axis=(1, 2, 3))
    flat_BD = cells.reshape(count, -1)
    squares_B = np.square(flat_BD).mean(axis=1)
    most_BB = np.where(np.minimum.outer(variance_B, variance_B) >= LEAST_VARIANCE, SAME_SHARE, -1.0)
    most_BB = most_BB * np.minimum.outer(variance_B, variance_B)
    same_BB = np.zeros((count, count), bool)
    for other in _pictures(cells, square=frames_BTHWC.shape[2] == frames_BTHWC.shape[3]):
        products = flat_BD @ other.reshape(count, -1).T / flat_BD.shape[1]
        same_BB |= np.add.outer(squares_B, squares_B) - 2.0 * products <= most_BB
    same_BB &= ~np.eye(count, dtype=bool)
    if same_BB.any(axis=1).mean() < USUAL:
        return []
    first, later = np.nonzero(np.triu(same_BB | same_BB.T))
    return list(zip(first.tolist(), later.tolist(), strict=True))


def _pictures(cells_BTYXC: np.ndarray, *, square: bool) -> Iterator[np.ndarray]:
    """Yield the clips in every other position and order of colours."""
    for turned, down, right in product((False, True) if square else (False,), (1, -1), (1, -1)):
        placed = (cells_BTYXC.swapaxes(2, 3) if turned else cells_BTYXC)[:, :, ::down, ::right]
        for order in permutations(range(cells_BTYXC.shape[-1])):
            if (turned, down, right, *order) != (False, 1, 1, *sorted(order)):
                yield placed[..., order]


def _cells(frames_BTHWC: np.ndarray) -> np.ndarray:
    """Return means of cells of the middle of the frames, without their mean, float32 [B, T, Y, X, C]."""
    sizes = [size // SIDE * SIDE for size in frames_BTHWC.shape[2:4]]
    rows, columns = (
        slice((size - kept) // 2, (size - kept) // 2 + kept)
        for size, kept in zip(frames_BTHWC.shape[2:4], sizes, strict=True)
    )
    high, wide = (size // SIDE for size in sizes)
    clips = []
    for clip in frames_BTHWC[:, :, rows, columns]:
        sums = clip.reshape(len(clip), SIDE, high, SIDE * wide, -1).sum(axis=2, dtype=np.uint32)
        clips.append(sums.reshape(len(clip), SIDE, SIDE, wide, -1).sum(axis=3) / np.float32(high * wide))
    cells = np.stack(clips).astype(np.float32)
    return cells - cells.mean(axis=(1, 2, 3, 4), keepdims=True)
