"""Score what moves at places that no context frame shows: creatures that come into view as the background scrolls.

A model cannot know them, nor the terrain there; but it can have about as many. Each clip is therefore compared with its
own background, the median of the views of a place, and only the numbers are compared.

Axes: N clips, F = C + S frames, C context frames, S generated frames, h x w cells, 3 colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import in_light_of, norm
from tinyworlds_gate.gate.measures.objects.rare import rare_share
from tinyworlds_gate.gate.measures.objects.regions import find_regions
from tinyworlds_gate.gate.measures.objects.scene import OBJECT_CONTRAST, Scene, beside

ENTRIES = "come into view by scrolling"
LEAST_VIEWS = 3
"""Frames that must show a place before what it looks like is known."""
DIFFERS = OBJECT_CONTRAST / 2
MARGIN = 3
"""Cells at the edges of the frame that are not judged: the blur mixes them with nothing."""
UNSEEN = 0.75
"""Share of an object that must be where no context frame shows the place."""
LARGEST_SIDE = 1 / 3
"""Of the frame: what is longer is terrain."""
THICK = 3
"""Cells: what is lower or narrower is an edge of the terrain."""


def score_entries(scene: Scene, true: np.ndarray, generated: np.ndarray, episodes: np.ndarray) -> list[dict[str, Any]]:
    """Return a row with the numbers of moving things that come into view, true and generated; none where none do.

    Args:
        scene: gives the scrolling, and what is fixed to the screen of each clip.
        true: float32 [N, S, h, w, 3], cells.
        generated: float32 [N, S, h, w, 3], cells.
        episodes: int [N].
    """
    of_true: list[int] = []
    of_generated: list[int] = []
    for clip in np.flatnonzero(scene.offsets.any(axis=(1, 2))):
        offsets = np.rint(np.concatenate([scene.context[2][clip], scene.offsets[clip]])).astype(int)
        fixed = beside(beside((scene.known[clip] & ~scene.judged[clip]).any(axis=0)))
        for frames, found in ((true[clip], of_true), (generated[clip], of_generated)):
            found += [int(clip)] * _entries(frames, offsets, fixed)
    if not of_true:
        return []
    clips, none = np.array(of_true, int), np.zeros(len(of_true), bool)
    return [{"what": ENTRIES} | rare_share(clips, none, np.array(of_generated, int), episodes)]


def _entries(frames: np.ndarray, offsets: np.ndarray, fixed: np.ndarray) -> int:
    """The number of sightings of small things that move at places that no context frame shows."""
    steps, height, width, _ = frames.shape
    corners = offsets.max(axis=0) - offsets
    rows, columns = np.array([height, width]) + corners.max(axis=0)
    windows = [np.s_[y : y + height, x : x + width] for y, x in corners]
    seen = np.zeros((rows, columns), bool)
    for window in windows[:-steps]:
        seen[window] |= ~fixed
    views = np.full((steps, rows, columns, 3), np.nan, np.float32)
    for view, window, frame in zip(views, windows[-steps:], frames, strict=True):
        view[window] = np.where(fixed[..., None], np.nan, frame)
    number = (~np.isnan(views[..., 0])).sum(axis=0)
    viewed = number >= LEAST_VIEWS
    if not (viewed & ~seen).any():
        return 0
    middle = np.broadcast_to(np.maximum((number - 1) // 2, 0)[None, ..., None], (1, rows, columns, 3))
    median = np.take_along_axis(np.sort(views, axis=0), middle, axis=0)[0]
    future = windows[-steps:]
    inside = np.stack([viewed[window] for window in future]) & ~fixed
    cut = np.where(inside[..., None], np.stack([median[window] for window in future]), frames)
    inside[:, :MARGIN] = inside[:, -MARGIN:] = inside[:, :, :MARGIN] = inside[:, :, -MARGIN:] = False
    deviation = norm(in_light_of(frames, cut) - cut) * inside
    regions = find_regions(deviation > DIFFERS)
    small = (regions.height <= height * LARGEST_SIDE) & (regions.width <= width * LARGEST_SIDE)
    thick = (regions.height >= THICK) & (regions.width >= THICK)
    unseen = regions.total(~np.stack([seen[window] for window in future])) >= UNSEEN * regions.area
    return int((small & thick & unseen & (regions.highest(deviation) > OBJECT_CONTRAST)).sum())
