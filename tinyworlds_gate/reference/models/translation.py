"""Which translation explains most of what changed between two frames: the camera's motion, found without a label.

An agent that moves through a world of tiles moves the picture, and leaves what is painted over it (a sprite in the
middle, an inventory) where it is. So whole frames are not compared: of the pixels that changed, those are counted that
a translation of the first frame gives again. It is the classical registration of two pictures, by counting.

Axes: B pairs, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_STEP, MOST_STEP = 1 / 32, 3 / 16
"""Of a frame's side: the translations that are tried, in steps of a 64th (at least a pixel)."""
SAME = 0.1
"""In [-1, 1]: a pixel is given again when no channel is farther off."""
LEAST_CHANGE = 0.02
"""A part of the frame that changed less than this did not make the picture move: a creature walked."""
LEAST_EXPLAINED = 0.3
"""Of the changed pixels."""


@torch.no_grad()
def explained_translation(pairs_B2CHW: Tensor) -> Tensor:
    """Signs `[B, 3]`: two that name the direction in which the picture moved, and whether it moved at all.

    Left is (1, 1, 1), right (-1, -1, 1), up (1, -1, 1), down (-1, 1, 1), standing still (0, 0, -1): when the two frames
    change places, the first two change sign.
    """
    before, after = pairs_B2CHW.float().unbind(1)
    side = before.shape[-1]
    changed = (after - before).abs().amax(dim=1) > SAME  # [B, H, W]
    total = changed.sum(dim=(1, 2)).float()
    best = torch.zeros_like(total)
    first, second = torch.zeros_like(total), torch.zeros_like(total)
    for step in candidate_steps(side):
        for dx, dy, signs in ((-step, 0, (1, 1)), (step, 0, (-1, -1)), (0, -step, (1, -1)), (0, step, (-1, 1))):
            to, come_from = _overlap(dx, dy)
            again = (after[:, :, *to] - before[:, :, *come_from]).abs().amax(dim=1) <= SAME
            explained = (again & changed[:, *to]).sum(dim=(1, 2)) / total.clamp(min=1)
            better = explained > best
            best = torch.where(better, explained, best)
            first, second = torch.where(better, signs[0], first), torch.where(better, signs[1], second)
    moved = (total >= LEAST_CHANGE * side * side) & (best >= LEAST_EXPLAINED)
    return torch.stack((first * moved, second * moved, torch.where(moved, 1.0, -1.0)), dim=1)


def candidate_steps(side: int) -> list[int]:
    """The translations that are tried in each direction, in pixels."""
    low, high = max(1, round(LEAST_STEP * side)), max(1, round(MOST_STEP * side))
    return list(range(low, high + 1, max(1, side // 64)))


def _overlap(dx: int, dy: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the second frame that a translation fills, and those of the first that it fills them with."""
    rows = (slice(max(0, dy), min(0, dy) or None), slice(max(0, -dy), min(0, -dy) or None))
    columns = (slice(max(0, dx), min(0, dx) or None), slice(max(0, -dx), min(0, -dx) or None))
    return (rows[0], columns[0]), (rows[1], columns[1])
