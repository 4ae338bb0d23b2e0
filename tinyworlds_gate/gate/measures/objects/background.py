"""The background of a clip: what most frames show at a place, of the screen or of a world that scrolls past it.

Axes: F frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import box_mean, largest
from tinyworlds_gate.gate.measures.objects.scroll import scroll_offsets

DIFFERENT = 12
"""Levels of a colour by which a pixel differs from the background."""
MOST = 40
SAME = 20
"""Levels by which two views of a place may differ where only two show it."""
SMALL_SHARE = 0.05
"""Share of the pixels that objects cover at most, where one background serves all clips."""
BETTER = 0.7
"""A scrolling background must leave at most this share of what a fixed one leaves unexplained."""
NO_VIEW = 10_000


@dataclass(frozen=True)
class Background:
    """Of one clip; masks are bool."""

    frames: np.ndarray
    """uint8 [F, H, W, 3]."""
    known: np.ndarray
    """[F, H, W]: a context frame shows this place, and enough frames agree on it."""
    fixed: np.ndarray
    """[H, W]: fixed to the screen while the rest scrolls (displays, a player in the middle)."""
    offsets: np.ndarray
    """int [F, 2]: how far the background has scrolled since the first frame."""


def middle_frame(frames: np.ndarray) -> np.ndarray:
    """Return the median over the first axis, the lower of two."""
    middle = (len(frames) - 1) // 2
    return np.partition(frames, middle, axis=0)[middle]


def find_background(frames: np.ndarray, context: int, of_all_clips: np.ndarray) -> Background:
    """Return the background of one clip.

    Args:
        frames: uint8 [F, H, W, 3], the true frames, ``context`` of them first.
        of_all_clips: uint8 [H, W, 3], the median of all clips: the background of a game with a fixed screen.
    """
    still = middle_frame(frames)
    left = _unexplained(frames, still)
    offsets = scroll_offsets(frames.mean(axis=-1, dtype=np.float32))
    if offsets.any():
        world, seen, sure = _world(frames, offsets, context)
        left_by_world = _unexplained(frames, world)
        fixed = box_mean(left.mean(axis=0), 3) + 1 < box_mean(np.where(sure, left_by_world, left).mean(axis=0), 3)
        unexplained = np.where(fixed, left, left_by_world * sure)
        if unexplained.mean() < BETTER * left.mean():
            mixed = np.where(fixed[..., None], still, world)
            return Background(mixed, fixed | (seen & sure), fixed, offsets)
    known = np.ones(frames.shape[:3], bool)
    if (_unexplained(frames, of_all_clips) > DIFFERENT).mean() <= SMALL_SHARE:
        still = of_all_clips
    return Background(np.broadcast_to(still, frames.shape), known, ~known[0], np.zeros_like(offsets))


def _unexplained(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    return np.minimum(largest(np.abs(frames.astype(np.int16) - background)), MOST)


def _world(frames: np.ndarray, offsets: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The median of all views of each place, cut out for every frame; seen by a context frame; sure [F, H, W]."""
    count, height, width, _ = frames.shape
    corners = offsets.max(axis=0) - offsets
    shape = (count, *(np.array([height, width]) + corners.max(axis=0)))
    views, valid = np.full((*shape, 3), NO_VIEW, np.int16), np.zeros(shape, bool)
    windows = [np.s_[y : y + height, x : x + width] for y, x in corners]
    for t, window in enumerate(windows):
        views[(t, *window)], valid[(t, *window)] = frames[t], True
    number = valid.sum(axis=0)
    middle = np.maximum((number - 1) // 2, 0)[None, ..., None]
    median = np.take_along_axis(np.sort(views, axis=0), np.broadcast_to(middle, (1, *shape[1:], 3)), axis=0)[0]
    spread = np.where(valid, largest(np.abs(views - median)), 0).max(axis=0)
    sure = (number >= 3) | ((number == 2) & (spread <= SAME))
    seen = np.logical_or.reduce(valid[:context])
    tables: tuple[np.ndarray, ...] = (median, seen, sure)
    cut = [np.stack([table[window] for window in windows]) for table in tables]
    return cut[0].astype(np.uint8), cut[1], cut[2]
