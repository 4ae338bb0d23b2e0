"""Estimate the image translation between two frames (the camera motion), without labels.

When an agent moves through a tile world, the background shifts while overlays (the player's sprite, the inventory)
stay fixed, so comparing whole frames would fail. Instead, among the pixels that changed, count those that a shifted
copy of the first frame reproduces, and take the shift with the largest share.

Axes: B pairs, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_STEP, MOST_STEP = 1 / 32, 3 / 16
"""Range of the candidate translations, as a share of the frame's side; the step is 1/64 of the side (at least 1 px)."""
SAME = 0.1
"""Pixels are equal when every channel differs by at most this, in [-1, 1] units."""
LEAST_CHANGE = 0.02
"""With a smaller share of changed pixels nothing moved but a creature."""
LEAST_EXPLAINED = 0.3
"""Smallest share of the changed pixels that the translation must reproduce."""


@torch.no_grad()
def explained_translation(pairs_B2CHW: Tensor) -> Tensor:
    """Return signs `[B, 3]`: the first two encode the direction of the image's motion, the third whether it moved.

    Left is (1, 1, 1), right (-1, -1, 1), up (1, -1, 1), down (-1, 1, 1), no motion (0, 0, -1). Swapping the two frames
    flips the sign of the first two.
    """
    before, after = pairs_B2CHW.float().unbind(1)
    side = before.shape[-1]
    changed = (after - before).abs().amax(dim=1) > SAME  # [B, H, W]
    total = changed.sum(dim=(1, 2)).float()
    best = torch.zeros_like(total)
    first, second = torch.zeros_like(total), torch.zeros_like(total)
    for step in candidate_steps(side):
        for dx, dy, signs in ((-step, 0, (1, 1)), (step, 0, (-1, -1)), (0, -step, (1, -1)), (0, step, (-1, 1))):
            target, source = _overlap(dx, dy)
            equal = (after[:, :, *target] - before[:, :, *source]).abs().amax(dim=1) <= SAME
            explained = (equal & changed[:, *target]).sum(dim=(1, 2)) / total.clamp(min=1)
            better = explained > best
            best = torch.where(better, explained, best)
            first, second = torch.where(better, signs[0], first), torch.where(better, signs[1], second)
    moved = (total >= LEAST_CHANGE * side * side) & (best >= LEAST_EXPLAINED)
    return torch.stack((first * moved, second * moved, torch.where(moved, 1.0, -1.0)), dim=1)


def candidate_steps(side: int) -> list[int]:
    """Return the candidate translations of each direction, in pixels."""
    low, high = max(1, round(LEAST_STEP * side)), max(1, round(MOST_STEP * side))
    return list(range(low, high + 1, max(1, side // 64)))


def _overlap(dx: int, dy: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return (rows, columns) of the second frame covered by a translation, and those of the first that map there."""
    rows = (slice(max(0, dy), min(0, dy) or None), slice(max(0, -dy), min(0, -dy) or None))
    columns = (slice(max(0, dx), min(0, dx) or None), slice(max(0, -dx), min(0, -dx) or None))
    return (rows[0], columns[0]), (rows[1], columns[1])
