"""Mark each patch with the offset of its best match in the frame before: a small cost volume, without weights.

Attention over patches learns slowly which of two frames' patches show the same thing. Optical-flow networks compute
this match instead (a cost volume: Dosovitskiy et al. 2015, FlowNet; Sun et al. 2018, PWC-Net).

Axes: B clips, T frames, C channels, H height, W width, P patches (row-major), V values of a patch, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyworlds_gate.reference.models.patches import frames_to_patches

OFFSETS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
"""Offsets in patches at which a match is looked for, in the order of the rows of `spatial_code(3, E)`."""
SHARPNESS = 20.0
"""Softmax weight per unit of mean absolute difference of two patches, in [-1, 1] units."""
LEAST_CHANGE = 0.02
"""A patch that differs by at most this (mean absolute difference) from the patch at its place carries no offset."""
SCALE = 8.0
"""Factor on the code of an offset: the other codes of a patch have a size of about 1."""
NO_PATCH = 3.0
"""Value outside the frame; pixels are in [-1, 1], so that nothing matches it."""


@torch.no_grad()
def matched_offsets(frames_BTCHW: Tensor, patch_size: int, codes_9E: Tensor) -> Tensor:
    """Return the codes `[B, T, P, E]` of the offsets; those of the first frame and of unchanged patches are zero.

    A code is the mean of the codes of the nine `OFFSETS`, weighted by how similar the patch at that offset is.
    """
    patches = frames_to_patches(frames_BTCHW.float(), patch_size)
    B, T, P, V = patches.shape
    grid = int(P**0.5)
    before = patches[:, :-1].reshape(-1, grid, grid, V)
    after = patches[:, 1:].reshape(-1, grid, grid, V)
    around = F.pad(before, (0, 0, 1, 1, 1, 1), value=NO_PATCH)
    differences = torch.stack(
        [(after - around[:, 1 + dy : 1 + dy + grid, 1 + dx : 1 + dx + grid]).abs().mean(dim=-1) for dy, dx in OFFSETS],
        dim=-1,
    )
    changed = differences[..., OFFSETS.index((0, 0)), None] > LEAST_CHANGE
    shares = torch.softmax(-SHARPNESS * differences, dim=-1) * changed
    codes = (SCALE * shares) @ codes_9E
    return F.pad(codes.view(B, T - 1, P, -1), (0, 0, 0, 0, 1, 0))
