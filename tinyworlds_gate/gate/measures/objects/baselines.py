"""What needs no model: the last context frame, the background alone, and each object at a constant velocity.

Axes: N clips, S generated frames, h x w cells.
"""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import norm
from tinyworlds_gate.gate.measures.objects.regions import Regions, find_regions
from tinyworlds_gate.gate.measures.objects.scene import LEAST_AREA, OBJECT_CONTRAST, Scene

COPY_LAST, ERASED, CONSTANT_VELOCITY = "copy_last", "erased", "constant_velocity"
LIKE = 2.0
"""Two sightings of one object differ in area by at most this factor."""


def predictions(scene: Scene, last: np.ndarray) -> dict[str, np.ndarray]:
    """Return name → cells [N, S, h, w, 3]; ``last`` are the last context frames [N, h, w, 3]."""
    return {
        COPY_LAST: np.broadcast_to(last[:, None], scene.true.shape),
        ERASED: scene.background,
        CONSTANT_VELOCITY: _moved(scene),
    }


def _moved(scene: Scene) -> np.ndarray:
    """The background with every object of the last context frame, moved on as it moved from the frame before."""
    frames, backgrounds, offsets = scene.context
    made = scene.background.copy()
    if frames.shape[1] < 2:
        return made
    count, steps, height, width = scene.shape
    contrast = frames - backgrounds
    for clip in range(count):
        before, now = (_objects(contrast[clip, which, None], scene) for which in (0, 1))
        scrolled = offsets[clip, -1] - offsets[clip, -2]
        for number in range(len(now)):
            velocity = _velocity(before, now, number, scrolled)
            row, column = np.nonzero(now.labels[0] == number + 1)
            colours = contrast[clip, 1, row, column]
            for step in range(steps):
                down, right = np.rint(scene.offsets[clip, step] + velocity * (step + 1)).astype(int)
                inside = (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
                made[clip, step, row[inside] + down, column[inside] + right] += colours[inside]
    return made


def context_objects(scene: Scene) -> list[Regions]:
    """Return the objects of the last two context frames; ``frame`` is the clip."""
    frames, backgrounds, _ = scene.context
    return [_objects(frames[:, which] - backgrounds[:, which], scene) for which in range(frames.shape[1])]


def _objects(contrast: np.ndarray, scene: Scene) -> Regions:
    """The objects of frames [M, h, w, 3], as differences from their background."""
    deviation = norm(contrast)
    regions = find_regions(deviation > scene.threshold.min())
    distinct = regions.highest(deviation) > OBJECT_CONTRAST
    return regions.only(scene.small(regions) & distinct & (regions.area >= LEAST_AREA))


def _velocity(before: Regions, now: Regions, number: int, scrolled: np.ndarray) -> np.ndarray:
    """Cells a frame, against the background; 0 where no object of the frame before is like it."""
    here = np.array([now.top[number], now.left[number]])
    moves = here - np.stack([before.top, before.left], axis=1) - scrolled
    ratio = before.area / now.area[number]
    like = (ratio <= LIKE) & (ratio >= 1 / LIKE)
    if not like.any():
        return np.zeros(2)
    moves = moves[like]
    return moves[int(np.argmin(np.abs(moves).sum(axis=1)))].astype(float)
