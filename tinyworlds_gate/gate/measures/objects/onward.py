"""Score objects that the context shows and that go on over terrain which it does not show, as in a fast side scroller.

A model cannot know the terrain there, but it knows the object. True and generated frames are therefore each compared
with their own world, the median of all views of a place, and the objects with each other.

Axes: N clips, F = C + S frames, C context frames, S generated frames, h x w cells, 3 colours, R objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.cells import in_light_of, norm
from tinyworlds_gate.gate.measures.objects.entries import (
    DIFFERS,
    LARGEST_SIDE,
    LEAST_VIEWS,
    MARGIN,
    THICK,
    UNSEEN,
)
from tinyworlds_gate.gate.measures.objects.regions import find_regions
from tinyworlds_gate.gate.measures.objects.scene import OBJECT_CONTRAST, Scene, beside

REACH = 4.0
"""Cells that an object moves from frame to frame, at most, on the screen or in the world."""
NEAR = 2.5
"""Cells between a true object and the same one in the generated frames, at most."""
COLOUR_APART, SIZE_APART = 60.0, 2.5
"""Levels (Euclidean) and times of the area from which two objects are not the same."""


@dataclass(frozen=True)
class _Objects:
    """Of one clip: frame, centre on the screen [R, 2], colour [R, 3], area, and how much of it is at unseen places."""

    frame: np.ndarray
    place: np.ndarray
    colour: np.ndarray
    area: np.ndarray
    unseen: np.ndarray

    def like(self, other: _Objects) -> np.ndarray:
        """Return which pairs have about the same colour and size, bool [R, R of the other]."""
        apart = np.sqrt(np.square(self.colour[:, None] - other.colour).sum(axis=-1))
        sizes = np.abs(np.log(self.area[:, None] / other.area))
        return (apart <= COLOUR_APART) & (sizes <= np.log(SIZE_APART))


def score_onward(
    scene: Scene, context: np.ndarray, true: np.ndarray, generated: np.ndarray, episodes: np.ndarray
) -> dict[str, Any]:
    """Return how many sightings of such objects there are, and how many the generated frames have in their place.

    Args:
        scene: gives the scrolling, and what is fixed to the screen of each clip.
        context: float32 [N, C, h, w, 3], blurred cells.
        true: float32 [N, S, h, w, 3], the same.
        generated: float32 [N, S, h, w, 3], the same.
        episodes: int [N].
    """
    count = context.shape[1]
    sightings, found = np.zeros((2, len(episodes)))
    for clip in np.flatnonzero(scene.offsets.any(axis=(1, 2))):
        offsets = np.rint(np.concatenate([scene.context[2][clip], scene.offsets[clip]])).astype(int)
        fixed = beside(beside((scene.known[clip] & ~scene.judged[clip]).any(axis=0)))
        own, made = (
            _objects(np.concatenate([context[clip], one[clip]]), offsets, fixed, count) for one in (true, generated)
        )
        later = _followed(own, offsets, count) & (own.frame >= count) & (own.unseen >= UNSEEN * own.area)
        pairs = own.like(made) & (own.frame[:, None] == made.frame)
        pairs &= np.abs(own.place[:, None] - made.place).max(axis=-1, initial=0.0) <= NEAR
        sightings[clip], found[clip] = later.sum(), (pairs.any(axis=1) & later).sum()
    low, high = ratio_interval(found, sightings, episodes)
    known = bool(np.isfinite((low, high)).all())
    return {
        "sightings": int(sightings.sum()),
        "episodes": len(np.unique(episodes[sightings > 0])),
        "found": int(found.sum()),
        "high": float(min(1.0, high)) if known else None,
    }


def _objects(frames: np.ndarray, offsets: np.ndarray, fixed: np.ndarray, context: int) -> _Objects:
    """Return the small things that differ from the median of the views of a place; frames float32 [F, h, w, 3]."""
    height, width = frames.shape[1:3]
    corners = offsets.max(axis=0) - offsets
    rows, columns = np.array([height, width]) + corners.max(axis=0)
    windows = [np.s_[y : y + height, x : x + width] for y, x in corners]
    seen = np.zeros((rows, columns), bool)
    views = np.full((len(frames), rows, columns, 3), np.nan, np.float32)
    for number, (window, frame) in enumerate(zip(windows, frames, strict=True)):
        views[(number, *window)] = np.where(fixed[..., None], np.nan, frame)
        if number < context:
            seen[window] |= ~fixed
    number = (~np.isnan(views[..., 0])).sum(axis=0)
    middle = np.broadcast_to(np.maximum((number - 1) // 2, 0)[None, ..., None], (1, rows, columns, 3))
    median = np.take_along_axis(np.sort(views, axis=0), middle, axis=0)[0]
    inside = np.stack([(number >= LEAST_VIEWS)[window] for window in windows]) & ~fixed
    world = np.where(inside[..., None], np.stack([median[window] for window in windows]), frames)
    inside[:, :MARGIN] = inside[:, -MARGIN:] = inside[:, :, :MARGIN] = inside[:, :, -MARGIN:] = False
    deviation = norm(in_light_of(frames, world) - world) * inside
    regions = find_regions(deviation > DIFFERS)
    small = (regions.height <= height * LARGEST_SIDE) & (regions.width <= width * LARGEST_SIDE)
    thick = (regions.height >= THICK) & (regions.width >= THICK)
    regions = regions.only(small & thick & (regions.highest(deviation) > OBJECT_CONTRAST))
    weight = np.square(deviation)
    total = np.maximum(regions.total(weight), 1e-9)
    at = [np.broadcast_to(one, deviation.shape) for one in np.ogrid[:1, :height, :width][1:]]
    return _Objects(
        regions.frame,
        np.stack([regions.total(weight * one) / total for one in at], axis=1),
        np.stack([regions.total(weight * frames[..., colour]) / total for colour in range(3)], axis=1),
        regions.area.astype(float),
        regions.total(~np.stack([seen[window] for window in windows])),
    )


def _followed(objects: _Objects, offsets: np.ndarray, context: int) -> np.ndarray:
    """Return which objects can be followed back to a context frame, bool [R]."""
    followed, like = objects.frame < context, objects.like(objects)
    for frame in range(context, len(offsets)):
        now, before = (np.flatnonzero(objects.frame == one) for one in (frame, frame - 1))
        before = before[followed[before]]
        step = objects.place[now][:, None] - objects.place[before]
        scrolled = offsets[frame] - offsets[frame - 1]
        moved = np.minimum(np.abs(step).max(axis=-1, initial=0.0), np.abs(step - scrolled).max(axis=-1, initial=0.0))
        followed[now] = (like[np.ix_(now, before)] & (moved <= REACH)).any(axis=1)
    return followed
