"""The norm after each sub-layer: RMSNorm, or LayerNorm with FiLM parameters computed from latent actions.

Axes: B batch, T frames, P patches, E embedding, A action dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Normalise the last axis; ``conditioning`` is ignored."""
        normed: Tensor = self.rms(x_BTPE)
        return normed


class Modulation(NamedTuple):
    """FiLM parameters of one norm, `[B, T, 1, E]` each."""

    gamma: Tensor
    beta: Tensor


class ConditionedNorm(nn.Module):
    """LayerNorm without affine, then FiLM: `x * (1 + gamma) + beta` (Perez et al. 2018)."""

    def __init__(self, embed_dim: int, conditioning_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        projection = nn.Linear(conditioning_dim, 2 * embed_dim)
        nn.init.normal_(projection.weight, std=FILM_STD)
        nn.init.zeros_(projection.bias)
        self.to_gamma_beta = nn.Sequential(nn.SiLU(), projection)

    @property
    def projection(self) -> nn.Linear:
        """The linear layer from the conditioning (after SiLU) to gamma and beta."""
        layer = self.to_gamma_beta[1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Normalise `[B, T, P, E]`; without conditioning this is the plain LayerNorm.

        The conditioning is `[B, T, A]`, or `[B, T-1, A]` where step t-1 acts on frame t, or the FiLM parameters
        computed from it (`modulations`). Raises ConfigError for any other number of steps.
        """
        normed = F.layer_norm(x_BTPE, (self.embed_dim,), eps=EPS)
        if conditioning is None:
            return normed
        if isinstance(conditioning, Tensor):
            conditioning = modulations([self], conditioning, x_BTPE.shape[1])[0]
        return torch.addcmul(conditioning.beta, normed, 1 + conditioning.gamma)


def modulations(norms: Sequence[ConditionedNorm], conditioning: Tensor, frames: int) -> list[Modulation]:
    """Compute the FiLM parameters of all these norms in one matrix product, for a conditioning of T-1 or T steps.

    Raises ConfigError for any other number of steps.
    """
    steps = conditioning.shape[1]
    if steps not in (frames - 1, frames):
        raise ConfigError(
            f"The conditioning has {steps} steps for {frames} frames; give {frames - 1} (one per transition) "
            f"or {frames} (one per frame)."
        )
    weight = torch.cat([norm.projection.weight for norm in norms])
    bias = torch.cat([norm.projection.bias for norm in norms])
    gamma_beta = F.linear(F.silu(conditioning), weight, bias)  # [B, T or T-1, norms * 2E]
    if steps == frames - 1:
        gamma_beta = F.pad(gamma_beta, (0, 0, 1, 0))
    parts = gamma_beta[:, :, None].chunk(2 * len(norms), dim=-1)  # [B, T, 1, E] each
    return [Modulation(gamma, beta) for gamma, beta in zip(parts[::2], parts[1::2], strict=True)]


class NormedLinear(nn.Sequential):
    """LayerNorm and a linear layer: the output head of a transformer."""

    def __init__(self, embed_dim: int, out_dim: int) -> None:
        super().__init__(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, out_dim))


def make_norm(embed_dim: int, conditioning_dim: int | None) -> PlainNorm | ConditionedNorm:
    """Build the norm of a sub-layer; conditioning_dim is None in unconditioned transformers."""
    return PlainNorm(embed_dim) if conditioning_dim is None else ConditionedNorm(embed_dim, conditioning_dim)
