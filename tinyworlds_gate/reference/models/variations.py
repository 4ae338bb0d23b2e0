"""Variations of the transformer in TinyWorlds checkouts: normalised queries and keys (QK-norm), and experts.

TinyWorlds itself has neither by default; then nothing here is used. A variation shows in the names of the tensors. Only
the number of experts that a token uses is not in the weights: the checkpoint's config has it.

Axes: B batch, T frames, P patches, E embedding, K dims of a head, X experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.blocks import SpaceTimeBlock, SwiGLU
from tinyworlds_gate.reference.models.norms import EPS, Modulation, make_norm

QK_NORM = re.compile(r"(?:.*\.)?transformer\.blocks\.\d+\.(?:spatial|temporal)_attn\.[qk]_norm\.weight")
EXPERT = re.compile(
    r"(?:.*\.)?transformer\.blocks\.\d+\.ffn\.(?:router\.weight|experts\.(?P<number>\d+)\.w_[vgo]\.(?:weight|bias))"
)


@dataclass(frozen=True)
class Variation:
    """How the blocks of a model differ from TinyWorlds' default; ``experts`` 0: one feed-forward layer per block."""

    qk_norm: bool = False
    experts: int = 0
    experts_per_token: int = 0


def variation_of(names: Iterable[str], config: Mapping[str, object]) -> Variation:
    """Return the variation that a stage's tensor names show.

    Raises:
        CheckpointError: the model has experts, and its config does not say how many of them a token uses.
    """
    names = list(names)
    numbers = [int(found["number"] or 0) for found in map(EXPERT.fullmatch, names) if found is not None]
    experts = 1 + max(numbers) if numbers else 0
    chosen = config.get("top_k_experts", 0)
    if experts and not (type(chosen) is int and 1 <= chosen <= experts):
        raise CheckpointError(
            f"The checkpoint has {experts} experts, and its config says top_k_experts: {chosen!r}; it must be an "
            f"integer from 1 to {experts}, the number of experts that a token uses. Use the checkpoint as training "
            "wrote it."
        )
    qk_norm = any(QK_NORM.fullmatch(name) for name in names)
    return Variation(qk_norm, experts, int(str(chosen)) if experts else 0)


def vary(model: nn.Module, variation: Variation) -> None:
    """Change the blocks of a model to the variation, with new weights of the same sizes."""
    for block in [part for part in model.modules() if isinstance(part, SpaceTimeBlock)]:
        if variation.qk_norm:
            for attention in (block.spatial_attn, block.temporal_attn):
                attention.q_norm = nn.RMSNorm(attention.head_dim, eps=EPS)
                attention.k_norm = nn.RMSNorm(attention.head_dim, eps=EPS)
        if variation.experts and isinstance(block.ffn, SwiGLU):
            conditioning_dim = block.norms[0].projection.in_features if block.norms else None
            experts = Experts(block.ffn.w_v.in_features, block.ffn.w_v.out_features, conditioning_dim, variation)
            block.add_module("ffn", experts)


class Expert(nn.Module):
    """One expert, as wide as the feed-forward layer of a plain block: `w_o(silu(w_v x) * w_g x)`."""

    def __init__(self, embed_dim: int, inner_dim: int) -> None:
        super().__init__()
        self.w_v = nn.Linear(embed_dim, inner_dim)
        self.w_g = nn.Linear(embed_dim, inner_dim)
        self.w_o = nn.Linear(inner_dim, embed_dim)

    def forward(self, x_BTPE: Tensor) -> Tensor:
        """Map `[B, T, P, E]` to the same shape."""
        update: Tensor = self.w_o(F.silu(self.w_v(x_BTPE)) * self.w_g(x_BTPE))
        return update


class Experts(nn.Module):
    """Feed-forward layer of several experts: `norm(x + Σ weight · expert(x))` over the chosen experts of each token.

    The router chooses the experts with the largest logits; softmax over the logits of these alone gives their weights.
    Every expert computes every token, with the weight 0 where it is not chosen: a CUDA graph requires shapes that do
    not depend on the data.
    """

    def __init__(self, embed_dim: int, inner_dim: int, conditioning_dim: int | None, variation: Variation) -> None:
        super().__init__()
        self.experts_per_token = variation.experts_per_token
        self.router = nn.Linear(embed_dim, variation.experts, bias=False)
        self.experts = nn.ModuleList(Expert(embed_dim, inner_dim) for _ in range(variation.experts))
        self.norm = make_norm(embed_dim, conditioning_dim)

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Map `[B, T, P, E]` to the same shape, each token independently."""
        logits_BTPX = self.router(x_BTPE)
        best, chosen = logits_BTPX.topk(self.experts_per_token, dim=-1)
        weights_BTPX = torch.zeros_like(logits_BTPX).scatter(-1, chosen, best.softmax(dim=-1).to(logits_BTPX.dtype))
        update = torch.zeros_like(x_BTPE)
        for number, expert in enumerate(self.experts):
            update = update + weights_BTPX[..., number, None] * expert(x_BTPE)
        normed: Tensor = self.norm(x_BTPE + update, conditioning)
        return normed
