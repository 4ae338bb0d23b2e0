"""The norm after each sub-layer: RMSNorm, or LayerNorm modulated by latent actions (FiLM).

Axes: B batch, T frames, P patches, E embedding, A action dims.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.errors import ConfigError

EPS = 1e-5
FILM_STD = 1e-3  # FiLM starts close to the identity


class PlainNorm(nn.Module):
    """RMSNorm with gain (Zhang & Sennrich 2019)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.rms = nn.RMSNorm(embed_dim, eps=EPS)

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Normalises the last axis; there is nothing to condition here."""
        normed: Tensor = self.rms(x_BTPE)
        return normed


class ConditionedNorm(nn.Module):
    """LayerNorm without affine, then FiLM: `x * (1 + gamma) + beta` (Perez et al. 2018)."""

    def __init__(self, embed_dim: int, conditioning_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        projection = nn.Linear(conditioning_dim, 2 * embed_dim)
        nn.init.normal_(projection.weight, std=FILM_STD)
        nn.init.zeros_(projection.bias)
        self.to_gamma_beta = nn.Sequential(nn.SiLU(), projection)

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Normalises `[B, T, P, E]`; conditioning is `[B, T, A]`, or `[B, T-1, A]` where step t-1 acts on frame t.

        Without conditioning this is the plain LayerNorm. Raises ConfigError for any other number of steps.
        """
        normed = F.layer_norm(x_BTPE, (self.embed_dim,), eps=EPS)
        if conditioning is None:
            return normed
        gamma_beta = self.to_gamma_beta(conditioning)  # [B, T or T-1, 2E]
        frames, steps = x_BTPE.shape[1], conditioning.shape[1]
        if steps == frames - 1:
            gamma_beta = F.pad(gamma_beta, (0, 0, 1, 0))
        elif steps != frames:
            raise ConfigError(
                f"The conditioning has {steps} steps for {frames} frames; give {frames - 1} (one per transition) "
                f"or {frames} (one per frame)."
            )
        gamma, beta = gamma_beta[:, :, None].chunk(2, dim=-1)  # [B, T, 1, E] each
        return torch.addcmul(beta, normed, 1 + gamma)


def make_norm(embed_dim: int, conditioning_dim: int | None) -> PlainNorm | ConditionedNorm:
    """Builds the norm of a sub-layer; conditioning_dim is None in unconditioned transformers."""
    return PlainNorm(embed_dim) if conditioning_dim is None else ConditionedNorm(embed_dim, conditioning_dim)
