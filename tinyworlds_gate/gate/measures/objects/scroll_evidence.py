"""Whether the whole background scrolls, or only a few things move before a background that stays.

A single thing on a plain field looks like a scroll of this field. A scroll needs evidence in several distant parts.

Axes: F frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import blur, box_mean, norm
from tinyworlds_gate.gate.measures.objects.regions import find_regions
from tinyworlds_gate.gate.measures.objects.scroll import explained_by_shift

FRAMES = 96
"""Scrolling steps that are looked at, spread over all clips."""
DIFFERENT = 16.0
"""Levels (Euclidean over the colours, after a slight blur) by which a pixel differs from a background that stays."""
MOVING_SHARE = 0.2
"""Share of the frame that things before a background that stays cover, at most."""
NEARLY_ALL = 0.97
"""Share of the frames in which they do: views of a world differ, and some show a new part of it."""
PARTS = 3
"""The frame is looked at in 3 x 3 parts."""
LEAST_PARTS = 7
"""Parts with evidence: a formation of invaders in the upper two thirds has six."""
LEAST_THINGS = 8
"""Separate things that move by the same shift."""


def background_scrolls(clips: Sequence[np.ndarray], offsets: Sequence[np.ndarray], still: Sequence[np.ndarray]) -> bool:
    """Return whether the offsets are those of a background, and not of a few things that move.

    They are if a background that stays does not explain most of the frame, or if many things in most parts of it move
    together.

    Args:
        clips: uint8 [F, H, W, 3] each.
        offsets: int [F, 2] each: how far the background seems to have scrolled.
        still: uint8 [H, W, 3], the median of each clip, and last that of all clips.
    """
    steps = [
        (clip, t) for clip, one in enumerate(offsets) for t in 1 + np.flatnonzero(np.diff(one, axis=0).any(axis=1))
    ]
    if not steps:
        return False
    chosen = [steps[k] for k in np.unique(np.linspace(0, len(steps) - 1, FRAMES).astype(int))]
    shares = [_differing(clips[clip][t], (still[clip], still[-1])) for clip, t in chosen]
    if np.quantile(shares, NEARLY_ALL) > MOVING_SHARE:
        return True
    spread = [_is_spread(clips[clip][t - 1 : t + 1], offsets[clip][t] - offsets[clip][t - 1]) for clip, t in chosen]
    return float(np.mean(spread)) >= 0.5


def _differing(frame: np.ndarray, backgrounds: Sequence[np.ndarray]) -> float:
    """The share of a frame that neither of the backgrounds explains."""
    differences = [norm(blur(frame.astype(np.float32) - one)) for one in backgrounds]
    return float((np.minimum(*differences) > DIFFERENT).mean())


def _is_spread(pair: np.ndarray, shift: np.ndarray) -> bool:
    """Whether many things in most parts of the frame move by this shift from one frame to the next."""
    before, after = blur(pair.astype(np.float32)).mean(axis=-1)
    evidence = explained_by_shift(before, after, (int(shift[0]), int(shift[1])))
    things = find_regions((box_mean(evidence, 1) > 0)[None])
    height, width = evidence.shape
    rows, columns = (
        (things.top + things.height / 2) * PARTS // height,
        (things.left + things.width / 2) * PARTS // width,
    )
    return len(things) >= LEAST_THINGS and len(np.unique(rows * PARTS + columns)) >= LEAST_PARTS
