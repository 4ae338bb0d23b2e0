"""Finite scalar quantisation (FSQ): round each latent scalar to one of a few levels (Mentzer et al. 2023).

Axes: L latent dims; the leading axes are free.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FiniteScalarQuantizer(nn.Module):
    """Rounds each of L scalars to D levels in [-1, 1]; a token index is sum(digit_i * D**i)."""

    basis: Tensor

    def __init__(self, latent_dim: int, num_bins: int) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.register_buffer("basis", num_bins ** torch.arange(latent_dim))  # [L], int64, saved with the weights

    def forward(self, prequant: Tensor) -> Tensor:
        """Map `[..., L]` to levels in [-1, 1], float32 also under autocast, with a straight-through gradient."""
        top = self.num_bins - 1
        scaled = (torch.tanh(prequant.float()) + 1) * (top / 2)
        rounded = scaled + (scaled.round() - scaled).detach()
        return rounded * (2 / top) - 1

    def nearest_level(self, latents: Tensor) -> Tensor:
        """Map values `[..., L]` to the nearest levels in [-1, 1], without a gradient."""
        top = self.num_bins - 1
        digits = ((latents.detach().float() + 1) * (top / 2)).round().clamp(0, top)
        return digits * (2 / top) - 1

    def expected_latents(self, logits: Tensor) -> Tensor:
        """Map token logits `[..., V]` to the expected latents under their softmax, `[..., L]`, float32."""
        tokens = torch.arange(logits.shape[-1], device=logits.device)
        return logits.float().softmax(dim=-1) @ self.latents_from_indices(tokens)

    def indices_from_latents(self, latents: Tensor) -> Tensor:
        """Map quantised latents `[..., L]` in [-1, 1] to token indices `[...]`, int64."""
        digits = ((latents + 1) * ((self.num_bins - 1) / 2)).round().long()
        return (digits * self.basis).sum(dim=-1)

    def latents_from_indices(self, indices: Tensor) -> Tensor:
        """Map token indices `[...]` to quantised latents `[..., L]` in [-1, 1], float32."""
        digits = indices[..., None] // self.basis % self.num_bins
        return digits.float() * (2 / (self.num_bins - 1)) - 1
