"""Fixed sine-cosine position codes for rows, columns and frames (docs/architecture.md).

Axes: T frames, P patches, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_FRAMES = 512  # longest clip of one forward pass


def split_embedding(embed_dim: int) -> tuple[int, int, int]:
    """Return how many embedding dims encode the column (x, first), the row (y, next) and the frame (last)."""
    temporal = embed_dim // 3 // 2 * 2
    x = (embed_dim - temporal) // 2 // 2 * 2
    return x, embed_dim - temporal - x, temporal


def sine_cosine(length: int, dim: int) -> Tensor:
    """Encode positions 0 … length-1 as `[length, dim]`: even index sine, odd index cosine (Vaswani et al. 2017)."""
    positions = torch.arange(length, dtype=torch.float32)[:, None]
    even = torch.arange(0, dim, 2, dtype=torch.float32)
    angles = positions * torch.exp(even * (-torch.log(torch.tensor(10000.0)) / max(dim, 1)))
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def spatial_code(grid: int, embed_dim: int) -> Tensor:
    """Return the codes `[P, E]` of a grid of row-major patches; the temporal dims are zero."""
    x_dim, y_dim, temporal = split_embedding(embed_dim)
    columns = sine_cosine(grid, x_dim).repeat(grid, 1)
    rows = sine_cosine(grid, y_dim).repeat_interleave(grid, dim=0)
    return torch.cat((columns, rows, torch.zeros(grid * grid, temporal)), dim=1)


def temporal_code(length: int, embed_dim: int) -> Tensor:
    """Return the codes `[T, E]` of frames; the spatial dims are zero."""
    x_dim, y_dim, temporal = split_embedding(embed_dim)
    return torch.cat((torch.zeros(length, x_dim + y_dim), sine_cosine(length, temporal)), dim=1)
