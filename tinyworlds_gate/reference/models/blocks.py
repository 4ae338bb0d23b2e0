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
    KVCache,
    SelfAttention,
    SpatialAttention,
    TemporalAttention,
)
from tinyworlds_gate.reference.models.norms import ConditionedNorm, Modulation, make_norm
from tinyworlds_gate.reference.models.sizes import ModelSizes

BlockModulation = tuple[Modulation, Modulation, Modulation]
"""FiLM parameters of a block's three norms: spatial attention, temporal attention, feed-forward."""


class SwiGLU(nn.Module):
    """Feed-forward layer `norm(x + w_o(silu(w_v x) * w_g x))`, floor(2 * hidden_dim / 3) inner units (Shazeer 2020)."""

    def __init__(self, embed_dim: int, hidden_dim: int, conditioning_dim: int | None) -> None:
        super().__init__()
        inner_dim = 2 * hidden_dim // 3
        self.w_v = nn.Linear(embed_dim, inner_dim)
        self.w_g = nn.Linear(embed_dim, inner_dim)
        self.w_o = nn.Linear(inner_dim, embed_dim)
        self.norm = make_norm(embed_dim, conditioning_dim)
        self.fused: tuple[Tensor, ...] | None = None

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Map `[B, T, P, E]` to the same shape, each token independently.

        Both inner projections are one matrix product. On a GPU the inner width is zero-padded to a multiple of 8
        (ZELDA has 85 units), which tensor cores need for aligned loads.
        """
        into, into_bias, out = self.fused or self.fused_weights()
        value, gate = F.linear(x_BTPE, into, into_bias).chunk(2, dim=-1)
        update = F.linear(F.silu(value) * gate, out, self.w_o.bias)
        normed: Tensor = self.norm(x_BTPE + update, conditioning)
        return normed

    def fuse(self, dtype: torch.dtype) -> None:
        """Concatenate and pad the weights once, for inference with frozen weights."""
        self.fused = tuple(one.detach().to(dtype) for one in self.fused_weights())

    def fused_weights(self) -> tuple[Tensor, ...]:
        """Return the concatenated weight and bias of both inner projections, and the padded output weight."""
        fill = -self.w_v.out_features % 8 if self.w_v.weight.is_cuda else 0
        weight = torch.cat([F.pad(one.weight, (0, 0, 0, fill)) for one in (self.w_v, self.w_g)])
        bias = torch.cat([F.pad(one.bias, (0, fill)) for one in (self.w_v, self.w_g)])
        return weight, bias, F.pad(self.w_o.weight, (0, fill))


class SpaceTimeBlock(nn.Module):
    """One post-norm block: spatial attention, causal temporal attention, feed-forward."""

    def __init__(self, sizes: ModelSizes, conditioning_dim: int | None) -> None:
        super().__init__()
        self.spatial_attn = SpatialAttention(sizes.embed_dim, sizes.num_heads, conditioning_dim)
        self.temporal_attn = TemporalAttention(sizes.embed_dim, sizes.num_heads, conditioning_dim)
        self.ffn = SwiGLU(sizes.embed_dim, sizes.hidden_dim, conditioning_dim)

    @property
    def norms(self) -> list[ConditionedNorm]:
        """The conditioned norms of the three sub-layers in execution order; empty without conditioning."""
        norms = (self.spatial_attn.norm, self.temporal_attn.norm, self.ffn.norm)
        return [norm for norm in norms if isinstance(norm, ConditionedNorm)]

    def forward(
        self,
        x_BTPE: Tensor,
        modulation: BlockModulation | Tensor | None = None,
        kv_cache: KVCache | None = None,
        *,
        parallel_prediction: bool = False,
    ) -> tuple[Tensor, KVCache]:
        """Map `[B, T, P, E]` to the same shape and return the keys and values of these frames.

        ``modulation`` is the FiLM parameters, or the conditioning from which each norm computes its own.
        ``kv_cache`` and ``parallel_prediction``: see `TemporalAttention.forward`.
        """
        per_norm: tuple[Tensor | Modulation | None, ...]
        per_norm = (modulation,) * 3 if isinstance(modulation, Tensor) else modulation or (None,) * 3
        spatial, temporal, ffn = per_norm
        x_BTPE = self.spatial_attn(x_BTPE, spatial)
        x_BTPE, new_cache = self.temporal_attn(x_BTPE, temporal, kv_cache, parallel_prediction=parallel_prediction)
        return self.ffn(x_BTPE, ffn), new_cache


@contextmanager
def fuse_projections(model: nn.Module, dtype: torch.dtype) -> Iterator[list[object]]:
    """Context in which projections of the same input use one weight tensor, concatenated once in ``dtype``.

    Yields those tensors: a CUDA graph captured inside reads them, so they must outlive it. They carry no gradient.
    """
    parts = [part for part in model.modules() if isinstance(part, SelfAttention | SwiGLU)]
    for part in parts:
        part.fuse(dtype)
    try:
        yield [part.fused for part in parts]
    finally:
        for part in parts:
            part.fused = None
