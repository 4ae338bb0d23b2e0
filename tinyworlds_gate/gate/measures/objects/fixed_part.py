"""Cut out the part of the screen that stays while the rest scrolls, where things move in it: a scene of its own.

Axes: N clips, T frames, S generated frames, H x W pixels, h x w cells, 3 colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyworlds_gate.gate.measures.objects.background import middle_frame
from tinyworlds_gate.gate.measures.objects.cells import box_mean, norm
from tinyworlds_gate.gate.measures.objects.displays import CHANGED
from tinyworlds_gate.gate.measures.objects.regions import find_regions
from tinyworlds_gate.gate.measures.objects.scene import LEAST_AREA, MOSTLY, Scene

LEAST_SHARE = 0.2
"""Share of the frame that such a part covers, at least."""
EDGE = 3
"""Cells that are left out at its edges: a narrow border of the frame is no scene."""
LEAST_FRAMES = 30
"""Frames, of all clips, in which something moves on there: displays change, but nothing moves on them."""


def cut_fixed_part(
    scene: Scene, last: np.ndarray, true: np.ndarray, frames: Sequence[np.ndarray]
) -> list[np.ndarray] | None:
    """Return ``frames`` cut to the part that is fixed to the screen, black outside of it; None: there is no such part.

    Args:
        scene: says what is fixed to the screen while the rest scrolls.
        last: float32 [N, h, w, 3], cells of the last context frame, without the blur.
        true: float32 [N, S, h, w, 3], cells without the blur.
        frames: uint8 [N, T, H, W, 3] each.
    """
    scrolls = scene.offsets.any(axis=(1, 2))
    if not scrolls.any():
        return None
    fixed = (scene.known & ~scene.judged)[scrolls, 0].mean(axis=0) >= 0.5
    inner = find_regions((box_mean(fixed, EDGE) > MOSTLY)[None])
    fixed = inner.only(inner.area >= LEAST_SHARE * fixed.size).labels[0] > 0
    if not fixed.any() or _moving_frames(last, true, fixed) < LEAST_FRAMES:
        return None
    height, width = frames[0].shape[2:4]
    mask = fixed.repeat(scene.pixels, axis=0).repeat(scene.pixels, axis=1)[:height, :width]
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return [one[(slice(None), slice(None), *box)] * mask[box][..., None] for one in frames]


def _moving_frames(last: np.ndarray, true: np.ndarray, fixed: np.ndarray) -> int:
    """The number of frames in which something moves on over the ``fixed`` cells: it leaves some and comes to others.

    It is where a cell differs from its median now, but neither before nor after.
    """
    frames = np.concatenate([last[:, None], true], axis=1)[:, :, fixed]
    usual = norm(frames - np.stack([middle_frame(clip) for clip in frames])[:, None]) <= CHANGED
    before = np.logical_or.accumulate(usual, axis=1)
    after = np.logical_or.accumulate(usual[:, ::-1], axis=1)[:, ::-1]
    there = ~usual & before & after
    earlier, later = there[:, :-1], there[:, 1:]
    left, came = (earlier & ~later).sum(axis=2), (later & ~earlier).sum(axis=2)
    return int((np.minimum(left, came) >= LEAST_AREA).sum())
