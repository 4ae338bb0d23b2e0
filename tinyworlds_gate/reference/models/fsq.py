"""Finite scalar quantisation: every latent scalar is rounded to one of a few levels (Mentzer et al. 2023).

Axes: L latent dims; the leading axes are free.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FiniteScalarQuantizer(nn.Module):
    """Rounds each of L scalars to D levels in [-1, 1]; a token's index is the number its digits spell, base D."""

    basis: Tensor

    def __init__(self, latent_dim: int, num_bins: int) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.register_buffer("basis", num_bins ** torch.arange(latent_dim))  # [L], int64, saved with the weights

    def forward(self, prequant: Tensor) -> Tensor:
        """Maps `[..., L]` to levels in [-1, 1], float32 also under autocast; the gradient passes the rounding."""
        top = self.num_bins - 1
        scaled = (torch.tanh(prequant.float()) + 1) * (top / 2)
        rounded = scaled + (scaled.round() - scaled).detach()
        return rounded * (2 / top) - 1

    def nearest_level(self, latents: Tensor) -> Tensor:
        """Maps any values `[..., L]` to the levels nearest to them, in [-1, 1], without a gradient."""
        top = self.num_bins - 1
        digits = ((latents.detach().float() + 1) * (top / 2)).round().clamp(0, top)
        return digits * (2 / top) - 1

    def expected_latents(self, logits: Tensor) -> Tensor:
        """Maps logits of tokens `[..., V]` to the mean of the latents that they weigh, `[..., L]`, float32."""
        tokens = torch.arange(logits.shape[-1], device=logits.device)
        return logits.float().softmax(dim=-1) @ self.latents_from_indices(tokens)

    def indices_from_latents(self, latents: Tensor) -> Tensor:
        """Maps quantised `[..., L]` in [-1, 1] to token indices `[...]`, int64."""
        digits = ((latents + 1) * ((self.num_bins - 1) / 2)).round().long()
        return (digits * self.basis).sum(dim=-1)

    def latents_from_indices(self, indices: Tensor) -> Tensor:
        """Maps token indices `[...]` to `[..., L]` in [-1, 1], float32."""
        digits = indices[..., None] // self.basis % self.num_bins
        return digits.float() * (2 / (self.num_bins - 1)) - 1
