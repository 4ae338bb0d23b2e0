"""The background of a clip: what most frames show at a place, of the screen or of a world that scrolls past it.

Axes: F frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import box_mean, largest
from tinyworlds_gate.gate.measures.objects.scroll import by_usual_shifts, scroll_offsets, usual_shifts
from tinyworlds_gate.gate.measures.objects.scroll_evidence import MOVING_SHARE, background_scrolls

DIFFERENT = 12
"""Levels of a colour by which a pixel differs from the background."""
MOST = 40
SAME = 20
"""Levels by which two views of a place may differ where only two show it."""
SMALL_SHARE = 0.05
"""Share of the pixels that objects cover, up to which one background serves all clips. Of more, up to a fifth, it
serves the places that look so in some frame."""
BETTER = 0.85
"""A scrolling background must leave at most this share of what a fixed one leaves unexplained."""
NO_VIEW = 10_000
STAYS = 0.3
"""Times as often as most of the frame, a part that is fixed to the screen changes at most while the rest scrolls."""
LEAST_SCROLLS = 20
"""Steps, of all clips: in fewer, a plain background may look fixed to the screen."""


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


def grey_of(frames: np.ndarray) -> np.ndarray:
    """Return the mean over the colours, float32 [F, H, W]."""
    return frames.mean(axis=-1, dtype=np.float32)


def scrolled_by(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return how far the background of each clip has scrolled since its first frame, int [F, 2] each."""
    offsets = [scroll_offsets(grey_of(clip)) for clip in clips]
    usual = usual_shifts(offsets)
    offsets = [by_usual_shifts(grey_of(clip), one, usual) for clip, one in zip(clips, offsets, strict=True)]
    medians = [middle_frame(clip) for clip in clips]
    if background_scrolls(clips, offsets, [*medians, middle_frame(np.stack(medians))]):
        return offsets
    return [np.zeros_like(one) for one in offsets]


def fixed_to_screen(clips: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pixels that seldom change while the background scrolls, bool [H, W]: displays, borders.

    None where too little scrolls.
    """
    changes, scrolls = np.zeros(clips[0].shape[1:3]), 0
    for clip, offset in zip(clips, offsets, strict=True):
        moved = np.diff(offset, axis=0).any(axis=1)
        if moved.any():
            scrolls += int(moved.sum())
            changes += (largest(np.abs(np.diff(clip.astype(np.int16), axis=0)[moved])) > DIFFERENT).sum(axis=0)
    often = box_mean(changes, 3)
    return (often <= STAYS * np.quantile(often, 0.75)) & (scrolls >= LEAST_SCROLLS)


def find_background(
    frames: np.ndarray,
    context: int,
    of_all_clips: np.ndarray,
    offsets: np.ndarray | None = None,
    screen: np.ndarray | None = None,
) -> Background:
    """Return the background of one clip.

    Args:
        frames: uint8 [F, H, W, 3], the true frames, ``context`` of them first.
        of_all_clips: uint8 [H, W, 3], the median of all clips: the background of a game with a fixed screen.
        offsets: int [F, 2], how far the background has scrolled; None: found in this clip alone.
        screen: bool [H, W], from ``fixed_to_screen``; None: nothing is known to be.
    """
    still = middle_frame(frames)
    left = _unexplained(frames, still)
    if offsets is None:
        (offsets,) = scrolled_by([frames])
    screen = np.zeros(frames.shape[1:3], bool) if screen is None else screen
    if offsets.any():
        world, sure = _world(frames, offsets, ~screen)
        left_by_world = _unexplained(frames, world)
        fixed = box_mean(left.mean(axis=0), 3) + 1 < box_mean(np.where(sure, left_by_world, left).mean(axis=0), 3)
        fixed |= screen
        unexplained = np.where(fixed, left, left_by_world * sure)
        if unexplained.mean() < BETTER * left.mean():
            mixed = np.where(fixed[..., None], still, world)
            return Background(mixed, fixed | (_seen(~fixed, offsets, context) & sure), fixed, offsets)
    known, apart = np.ones(frames.shape[:3], bool), _unexplained(frames, of_all_clips) > DIFFERENT
    if apart.mean() <= SMALL_SHARE:
        still = of_all_clips
    elif apart.mean() <= MOVING_SHARE:
        still = np.where(apart.min(axis=0)[..., None], still, of_all_clips)
    return Background(np.broadcast_to(still, frames.shape), known, ~known[0], np.zeros_like(offsets))


def _unexplained(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    return np.minimum(largest(np.abs(frames.astype(np.int16) - background)), MOST)


def _world(frames: np.ndarray, offsets: np.ndarray, shows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The median of all views of each place, cut out for every frame; where it is sure, [F, H, W].

    ``shows`` [H, W]: where the frames show the world.
    """
    count, height, width, _ = frames.shape
    size, windows = _windows(offsets, height, width)
    views, valid = np.full((count, *size, 3), NO_VIEW, np.int16), np.zeros((count, *size), bool)
    for t, window in enumerate(windows):
        views[(t, *window)], valid[(t, *window)] = np.where(shows[..., None], frames[t], np.int16(NO_VIEW)), shows
    number = valid.sum(axis=0)
    middle = np.maximum((number - 1) // 2, 0)[None, ..., None]
    median = np.take_along_axis(np.sort(views, axis=0), np.broadcast_to(middle, (1, *size, 3)), axis=0)[0]
    spread = np.where(valid, largest(np.abs(views - median)), 0).max(axis=0)
    sure = (number >= 3) | ((number == 2) & (spread <= SAME))
    return np.stack([median[window] for window in windows]).astype(np.uint8), np.stack([sure[w] for w in windows])


def _seen(shows: np.ndarray, offsets: np.ndarray, context: int) -> np.ndarray:
    """Which places a context frame shows, for every frame, [F, H, W]; ``shows`` [H, W]: where frames show the world."""
    size, windows = _windows(offsets, *shows.shape)
    seen = np.zeros(size, bool)
    for window in windows[:context]:
        seen[window] |= shows
    return np.stack([seen[window] for window in windows])


def _windows(offsets: np.ndarray, height: int, width: int) -> tuple[tuple[int, int], list[tuple[slice, slice]]]:
    """The size of the world that all frames show together, and where each of them lies in it."""
    corners = offsets.max(axis=0) - offsets
    down, right = (int(one) for one in corners.max(axis=0))
    return (height + down, width + right), [np.s_[y : y + height, x : x + width] for y, x in corners]
