"""The best blend of simple predictions, with weights of its own in every region of the picture and at every step (G8).

Weights are fitted by least squares on a grid of regions from the whole picture down to 8 x 8. Those of a region are
drawn towards those of the region around it, so that few clips do not overfit.

Axes: B clips, S generated frames, R regions of the finest grid, N predictions, X pixels of a region times colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.simple_predictions import Predictions, scaled

GRIDS = (1, 2, 4, 8)
"""Regions along a side, from the whole picture to the finest grid."""
PRIOR_CLIPS = 8
"""How many clips of the surrounding region the prior of a region's weights counts as."""
RIDGE = 1e-3
"""Share of its own square by which each prediction is held to the prior weight."""
TINY = 1e-9


@dataclass(frozen=True)
class Products:
    """Mean products of differences to the last frame: of predictions (a), of predictions and truth (b), of truth (c).

    Weights w have the squared error w'a w - 2 w'b + c. ``clips`` is the number of clips that were added up.
    """

    a_RSNN: np.ndarray
    b_RSN: np.ndarray
    c_S: np.ndarray
    clips: int = 1

    def errors(self, weights_RSN: np.ndarray) -> np.ndarray:
        """Return the mean squared error ``[S]`` of the blend with these weights."""
        form = (self.a_RSNN @ weights_RSN[..., None])[..., 0] - 2 * self.b_RSN
        errors: np.ndarray = np.einsum("rsn,rsn->s", form, weights_RSN) + self.c_S
        return errors.clip(0)


def clip_products(found: Predictions, true_SCHW: np.ndarray) -> Products:
    """Return the products of one clip; ``true_SCHW`` are float32 in [0, 1]."""
    pixels = true_SCHW[0].size
    true = _by_region(true_SCHW - found.last_CHW)
    still = _by_region(found.still_NCHW - found.last_CHW)
    turned, fixed, steps = still.swapaxes(1, 2), still.shape[1], len(true_SCHW)
    tables = {id(one): scaled(one) - found.last_CHW for one in found.moving if one is not None}
    moving = np.stack([_by_region(one) for one in tables.values()], axis=2)
    count = fixed + len(tables) + 1  # the last one does not differ from the last frame
    a, b = np.zeros((len(true), steps, count, count), np.float32), np.zeros((len(true), steps, count), np.float32)
    a[:, :, :fixed, :fixed] = (still @ turned)[:, None]
    a[:, :, fixed:-1, :fixed] = moving @ turned[:, None]
    a[:, :, :fixed, fixed:-1] = a[:, :, fixed:-1, :fixed].swapaxes(2, 3)
    a[:, :, fixed:-1, fixed:-1] = moving @ moving.swapaxes(2, 3)
    b[:, :, :fixed] = true @ turned
    b[:, :, fixed:-1] = (moving @ true[..., None])[..., 0]
    place = {known: number for number, known in enumerate(tables, start=fixed)}
    of_all = np.array([*range(fixed), *(place.get(id(one), count - 1) for one in found.moving)])
    a, b = a[:, :, of_all[:, None], of_all], b[:, :, of_all]
    c_S = np.square(true, dtype=np.float64).sum(axis=(0, 2)) / pixels
    return Products(a / np.float32(pixels), b / np.float32(pixels), c_S)


def added(parts: Sequence[Products]) -> Products:
    """Return the sum over clips."""
    a, b, c = (np.zeros(one.shape) for one in (parts[0].a_RSNN, parts[0].b_RSN, parts[0].c_S))
    for part in parts:
        a += part.a_RSNN
        b += part.b_RSN
        c += part.c_S
    return Products(a, b, c, sum(part.clips for part in parts))


def blended_errors(
    clips: Sequence[Products], group_B: np.ndarray, training: Products | None
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return by grid (1: the whole picture) the errors ``[B, S]`` of the best blends.

    The first ones are with weights fitted on clips of other groups and on ``training``, the second ones with weights
    fitted on all clips. There are at least two groups, or training clips.
    """
    groups = {
        int(group): added([clips[index] for index in np.flatnonzero(group_B == group).tolist()])
        for group in set(group_B)
    }
    everything = added([*groups.values(), *([] if training is None else [training])])
    shape = (len(clips), len(everything.c_S))
    errors = {grid: (np.empty(shape), np.empty(shape)) for grid in (GRIDS[0], GRIDS[-1])}
    weights_of_all = _fitted(everything.a_RSNN, everything.b_RSN, everything.clips)
    for group, own in groups.items():
        rest = everything.clips - own.clips
        weights = _fitted(everything.a_RSNN - own.a_RSNN, everything.b_RSN - own.b_RSN, rest)
        for grid, (of_others, of_all) in errors.items():
            pairs = ((of_others, weights), (of_all, weights_of_all))
            spread = [(table, _spread(found[grid], GRIDS[-1])) for table, found in pairs]
            for index in np.flatnonzero(group_B == group).tolist():
                for table, weights_RSN in spread:
                    table[index] = clips[index].errors(weights_RSN)
    return errors


def _fitted(a_RSNN: np.ndarray, b_RSN: np.ndarray, clips: int) -> dict[int, np.ndarray]:
    """Return the best weights ``[regions, S, N]`` by grid."""
    a, b = {GRIDS[-1]: a_RSNN}, {GRIDS[-1]: b_RSN}
    for grid in reversed(GRIDS[:-1]):
        a[grid], b[grid] = _merged(a[2 * grid]), _merged(b[2 * grid])
    found = {0: np.zeros_like(b[1])}
    for grid in GRIDS:
        around = _spread(found[grid // 2], grid)
        held = np.zeros_like(a[grid])
        if grid > 1:
            held += _spread(a[grid // 2], grid) * (PRIOR_CLIPS / clips / 4)
        diagonal = np.einsum("rsnn->rsn", held)
        diagonal += RIDGE * np.einsum("rsnn->rsn", a[grid] + held) + TINY
        aim = b[grid] + (held @ around[..., None])[..., 0]
        found[grid] = np.linalg.solve(a[grid] + held, aim[..., None])[..., 0]
    return found


def _by_region(frames: np.ndarray) -> np.ndarray:
    """Turn ``[N, C, H, W]`` into ``[R, N, X]``; the last regions are filled up with zeros."""
    count, colours, height, width = frames.shape
    side = GRIDS[-1]
    tall, wide = -(-height // side), -(-width // side)
    if (tall * side, wide * side) != (height, width):
        frames = np.pad(frames, [(0, 0), (0, 0), (0, tall * side - height), (0, wide * side - width)])
    parts = frames.reshape(count, colours, side, tall, side, wide).transpose(2, 4, 0, 1, 3, 5)
    return parts.reshape(side * side, count, colours * tall * wide)


def _merged(table: np.ndarray) -> np.ndarray:
    """Sum every 2 x 2 regions of a square grid ``[R, ...]``."""
    half = int(len(table) ** 0.5) // 2
    merged: np.ndarray = table.reshape(half, 2, half, 2, *table.shape[1:]).sum(axis=(1, 3))
    return merged.reshape(half * half, *table.shape[1:])


def _spread(table: np.ndarray, side: int) -> np.ndarray:
    """Repeat the values of a coarse square grid ``[R, ...]`` on one with this many regions along a side."""
    grid = int(len(table) ** 0.5)
    square = table.reshape(grid, grid, *table.shape[1:])
    repeated = square.repeat(side // grid, axis=0).repeat(side // grid, axis=1)
    return repeated.reshape(side * side, *table.shape[1:])
