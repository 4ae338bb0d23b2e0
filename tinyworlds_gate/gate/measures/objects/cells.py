"""Frames on a coarse grid of cells, where a slight blur or noise does not hide an object.

Axes: ... any leading axes, H x W pixels, h x w cells, 3 colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CELLS = 64
"""Cells along the longer side of a frame, about."""
SMOOTHING = 1.0
"""Standard deviation of the blur on the grid, in cells."""
BLOCK = 8
"""Side, in cells, of the blocks whose light and noise are compared."""
LIGHT_FLOOR = 16.0
"""Levels added before two lights are divided."""
DARK = 32.0
"""Levels below which a cell does not vote: noise on black is no light."""
LIGHT_RANGE = (0.4, 2.5)
LEAST_VOTES = 0.25
"""Share of a block's cells that must vote on its light: a few bright edges in a dark block show none."""


def cell_size(height: int, width: int) -> int:
    """Return the side of a cell in pixels."""
    return max(1, round(max(height, width) / CELLS))


def to_cells(frames: np.ndarray) -> np.ndarray:
    """Return the mean of each cell, float32 [..., h, w, 3], of frames [..., H, W, 3]."""
    height, width = frames.shape[-3:-1]
    size = cell_size(height, width)
    rows, columns = -(-height // size), -(-width // size)
    if (rows * size, columns * size) != (height, width):
        pad = [(0, 0)] * (frames.ndim - 3) + [(0, rows * size - height), (0, columns * size - width), (0, 0)]
        frames = np.pad(frames, pad, mode="edge")
    total = np.zeros((*frames.shape[:-3], rows, columns, 3), np.float32)
    for row in range(size):
        for column in range(size):
            total += frames[..., row::size, column::size, :]
    return total / size**2


def share_of_cells(mask: np.ndarray) -> np.ndarray:
    """Return the share of each cell that a mask [..., H, W] covers."""
    return to_cells(np.repeat(mask[..., None], 3, axis=-1))[..., 0]


def blur(cells: np.ndarray, sigma: float = SMOOTHING) -> np.ndarray:
    """Return the grid under a Gaussian of ``sigma`` cells; 0 returns it as it is."""
    if sigma <= 0:
        return cells
    radius = max(1, round(2.5 * sigma))
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (cells.ndim - 3, cells.ndim - 2):
        pad = [(0, 0)] * cells.ndim
        pad[axis] = (radius, radius)
        padded, length = np.pad(cells, pad, mode="edge"), cells.shape[axis]
        blurred = np.zeros_like(cells)
        for number, weight in enumerate(weights):
            window = [slice(None)] * cells.ndim
            window[axis] = slice(number, number + length)
            blurred += weight * padded[tuple(window)]
        cells = blurred
    return cells


def largest(colours: np.ndarray) -> np.ndarray:
    """Return the maximum over the colours; much faster than `max(axis=-1)`."""
    return np.maximum(np.maximum(colours[..., 0], colours[..., 1]), colours[..., 2])


def norm(difference: np.ndarray) -> np.ndarray:
    """Return the Euclidean length over the colours."""
    return np.sqrt(np.einsum("...c,...c->...", difference, difference))


def box_mean(table: np.ndarray, radius: int) -> np.ndarray:
    """Return the mean over squares of ``2 radius + 1`` in the last two axes."""
    pad = [(0, 0)] * (table.ndim - 2)
    padded = np.pad(table.astype(np.float64), [*pad, (radius, radius), (radius, radius)], mode="edge")
    total = np.pad(padded.cumsum(-1).cumsum(-2), [*pad, (1, 0), (1, 0)])
    side = 2 * radius + 1
    corners = total[..., side:, side:] - total[..., :-side, side:] - total[..., side:, :-side]
    return (corners + total[..., :-side, :-side]) / side**2


def neighbours(cells: np.ndarray, reduce: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Reduce each cell with its eight neighbours, by `np.minimum` or `np.maximum`; cells [..., h, w, 3]."""
    padded = np.pad(cells, [(0, 0)] * (cells.ndim - 3) + [(1, 1), (1, 1), (0, 0)], mode="edge")
    rows = reduce(reduce(padded[..., :-2, :, :], padded[..., 1:-1, :, :]), padded[..., 2:, :, :])
    return reduce(reduce(rows[..., :-2, :], rows[..., 1:-1, :]), rows[..., 2:, :])


def in_light_of(cells: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the grid in the light of the background: what dims or tints large areas is divided out.

    Both [..., h, w, 3]. The light of an area is a median, so an object in it does not change it.
    """
    if np.array_equal(cells, background):
        return cells
    ratio = np.where(background < DARK, np.nan, (cells + LIGHT_FLOOR) / (background + LIGHT_FLOOR))
    light = np.nan_to_num(area_median(ratio.astype(np.float32), LEAST_VOTES), nan=1.0)
    return cells / np.clip(light, *LIGHT_RANGE)


def area_median(table: np.ndarray, least_votes: float = 0.0) -> np.ndarray:
    """Return the median of the area around each cell, of a table [..., h, w, c]; NaN has no vote.

    An area is 3 x 3 blocks. What covers less than half of a block and four of its neighbours is not seen. A block
    counts if at least this share of its cells votes.
    """
    rows, columns, colours = table.shape[-3:]
    high, wide = -(-rows // BLOCK), -(-columns // BLOCK)
    lead = table.shape[:-3]
    pad = [(0, 0)] * len(lead) + [(0, high * BLOCK - rows), (0, wide * BLOCK - columns), (0, 0)]
    blocks = np.pad(table, pad, constant_values=np.nan).reshape(*lead, high, BLOCK, wide, BLOCK, colours)
    blocks = np.moveaxis(blocks, -4, -3).reshape(*lead, high, wide, BLOCK**2, colours)
    median = _known_median(blocks, -2, least_votes * BLOCK**2)
    padded = np.pad(median, [(0, 0)] * len(lead) + [(1, 1), (1, 1), (0, 0)], mode="edge")
    around = [padded[..., i : i + high, j : j + wide, :] for i in range(3) for j in range(3)]
    return _between(_between(_known_median(np.stack(around), 0), rows, -3), columns, -2)


def _known_median(table: np.ndarray, axis: int, least: float = 0.0) -> np.ndarray:
    """The median of the values that are no NaN; NaN where there are none, or fewer than ``least``."""
    count = np.count_nonzero(~np.isnan(table), axis=axis, keepdims=True)
    middle = np.maximum((count - 1) // 2, 0)
    median = np.take_along_axis(np.sort(table, axis=axis), middle, axis=axis)
    return np.where(count >= least, median, np.float32(np.nan)).squeeze(axis)


def _between(table: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Interpolate the blocks of one axis to ``length`` cells."""
    count = table.shape[axis]
    place = np.clip((np.arange(length) + 0.5) / BLOCK - 0.5, 0, count - 1)
    low = np.floor(place).astype(int)
    shape = [1] * table.ndim
    shape[axis] = length
    share = (place - low).reshape(shape).astype(np.float32)
    return table.take(low, axis) * (1 - share) + table.take(np.minimum(low + 1, count - 1), axis) * share
