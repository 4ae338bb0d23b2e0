"""The space-time block: attention within frames, causal attention over frames, SwiGLU (post-norm).

Axes: B batch, T frames, P patches, E embedding, A action dims.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.reference.models.attention import (
    PastKeysValues,
    SelfAttention,
    SpatialAttention,
    TemporalAttention,
)
from tinyworlds_gate.reference.models.norms import ConditionedNorm, Modulation, make_norm
from tinyworlds_gate.reference.models.sizes import ModelSizes

BlockModulation = tuple[Modulation, Modulation, Modulation]
"""Of the three norms of a block: spatial attention, temporal attention, feed-forward."""


class SwiGLU(nn.Module):
    """`norm(x + w_o(silu(w_v x) * w_g x))` with floor(2 * hidden_dim / 3) inner units (Shazeer 2020)."""

    def __init__(self, embed_dim: int, hidden_dim: int, conditioning_dim: int | None) -> None:
        super().__init__()
        inner_dim = 2 * hidden_dim // 3
        self.w_v = nn.Linear(embed_dim, inner_dim)
        self.w_g = nn.Linear(embed_dim, inner_dim)
        self.w_o = nn.Linear(inner_dim, embed_dim)
        self.norm = make_norm(embed_dim, conditioning_dim)
        self.fused: tuple[Tensor, ...] | None = None

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Maps `[B, T, P, E]` to the same shape, each token by itself.

        Both inner products are one. On a GPU the inner units are filled up to a multiple of 8 with units that are
        always zero (ZELDA has 85): matrix units then read whole words.
        """
        into, into_bias, out = self.fused or self.in_one()
        value, gate = F.linear(x_BTPE, into, into_bias).chunk(2, dim=-1)
        update = F.linear(F.silu(value) * gate, out, self.w_o.bias)
        normed: Tensor = self.norm(x_BTPE + update, conditioning)
        return normed

    def fuse(self, dtype: torch.dtype) -> None:
        """Put the weights together once, for weights that do not change any more."""
        self.fused = tuple(one.detach().to(dtype) for one in self.in_one())

    def in_one(self) -> tuple[Tensor, ...]:
        """Weight and bias of both inner products, and the outer weight."""
        fill = -self.w_v.out_features % 8 if self.w_v.weight.is_cuda else 0
        weight = torch.cat([F.pad(one.weight, (0, 0, 0, fill)) for one in (self.w_v, self.w_g)])
        bias = torch.cat([F.pad(one.bias, (0, fill)) for one in (self.w_v, self.w_g)])
        return weight, bias, F.pad(self.w_o.weight, (0, fill))


class SpaceTimeBlock(nn.Module):
    """Spatial attention, causal temporal attention, feed-forward."""

    def __init__(self, sizes: ModelSizes, conditioning_dim: int | None) -> None:
        super().__init__()
        self.spatial_attn = SpatialAttention(sizes.embed_dim, sizes.num_heads, conditioning_dim)
        self.temporal_attn = TemporalAttention(sizes.embed_dim, sizes.num_heads, conditioning_dim)
        self.ffn = SwiGLU(sizes.embed_dim, sizes.hidden_dim, conditioning_dim)

    @property
    def norms(self) -> list[ConditionedNorm]:
        """The norms of its three sub-layers, in the order in which they act, where they are conditioned."""
        norms = (self.spatial_attn.norm, self.temporal_attn.norm, self.ffn.norm)
        return [norm for norm in norms if isinstance(norm, ConditionedNorm)]

    def forward(
        self,
        x_BTPE: Tensor,
        modulation: BlockModulation | Tensor | None = None,
        past: PastKeysValues | None = None,
        *,
        twins: bool = False,
    ) -> tuple[Tensor, PastKeysValues]:
        """Maps `[B, T, P, E]` to the same shape and returns what later frames need of these.

        ``modulation`` may be the conditioning itself; ``twins``: see `TemporalAttention.forward`.
        """
        spatial: Tensor | Modulation | None
        temporal: Tensor | Modulation | None
        ffn: Tensor | Modulation | None
        if isinstance(modulation, Tensor):
            spatial = temporal = ffn = modulation
        else:
            spatial, temporal, ffn = modulation or (None, None, None)
        x_BTPE = self.spatial_attn(x_BTPE, spatial)
        x_BTPE, seen = self.temporal_attn(x_BTPE, temporal, past, twins=twins)
        return self.ffn(x_BTPE, ffn), seen


@contextmanager
def projections_in_one(model: nn.Module, dtype: torch.dtype) -> Iterator[list[object]]:
    """Inside, weights that act on the same input lie in one tensor, instead of being put together at each use.

    Yields those tensors; a graph that was captured inside needs them alive. No gradient passes them.
    """
    parts = [part for part in model.modules() if isinstance(part, SelfAttention | SwiGLU)]
    for part in parts:
        part.fuse(dtype)
    try:
        yield [part.fused for part in parts]
    finally:
        for part in parts:
            part.fused = None
