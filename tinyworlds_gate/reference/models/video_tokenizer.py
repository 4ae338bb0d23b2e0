"""The video tokenizer: frames to discrete tokens and back (first stage).

Axes: B batch, T frames, C channels, H height, W width, P patches, E embedding, L latent dims.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.norms import NormedLinear
from tinyworlds_gate.reference.models.patches import PatchEmbedding, PixelHead
from tinyworlds_gate.reference.models.positions import spatial_code
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer


class TokenizerOutput(NamedTuple):
    """One training pass: loss (scalar), recon `[B, T, C, H, W]` and token indices `[B, T, P]`."""

    loss: Tensor
    recon: Tensor
    indices: Tensor


class TokenizerEncoder(nn.Module):
    """Frames to latents that are not yet quantised."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(sizes)
        self.transformer = SpaceTimeTransformer(sizes)
        self.latent_head = NormedLinear(sizes.embed_dim, sizes.latent_dim)

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        """Maps frames to `[B, T, P, L]`."""
        latents: Tensor = self.latent_head(self.transformer(self.patch_embed(frames_BTCHW)))
        return latents


class TokenizerDecoder(nn.Module):
    """Quantised latents to frames."""

    spatial_code: Tensor

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.latent_embed = nn.Linear(sizes.latent_dim, sizes.embed_dim)
        self.transformer = SpaceTimeTransformer(sizes)
        self.frame_head = PixelHead(sizes)
        self.register_buffer("spatial_code", spatial_code(sizes.grid, sizes.embed_dim), persistent=False)  # [P, E]

    def forward(self, latents_BTPL: Tensor) -> Tensor:
        """Maps `[B, T, P, L]` to frames, not clamped."""
        x_BTPE, _ = self.transformer.extend_latents(latents_BTPL, self.latent_embed, self.spatial_code)
        frames: Tensor = self.frame_head(x_BTPE)
        return frames


class VideoTokenizer(nn.Module):
    """An FSQ autoencoder of video whose frames never depend on later ones."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = TokenizerEncoder(sizes)
        self.quantizer = FiniteScalarQuantizer(sizes.latent_dim, sizes.num_bins)
        self.decoder = TokenizerDecoder(sizes)

    def encode(self, frames_BTCHW: Tensor) -> Tensor:
        """Maps frames in [-1, 1] to quantised latents `[B, T, P, L]` in [-1, 1]."""
        latents: Tensor = self.quantizer(self.encoder(frames_BTCHW))
        return latents

    def tokenize(self, frames_BTCHW: Tensor) -> Tensor:
        """Maps frames in [-1, 1] to token indices `[B, T, P]`, int64."""
        return self.quantizer.indices_from_latents(self.encode(frames_BTCHW))

    def decode(self, latents_BTPL: Tensor) -> Tensor:
        """Maps quantised latents to frames `[B, T, C, H, W]`, not clamped."""
        frames: Tensor = self.decoder(latents_BTPL)
        return frames

    def forward(self, frames_BTCHW: Tensor) -> TokenizerOutput:
        """Reconstructs frames; the loss is smooth-L1 against them (tinyworlds.md §1)."""
        latents = self.encode(frames_BTCHW)
        recon = self.decode(latents)
        indices = self.quantizer.indices_from_latents(latents.detach())
        return TokenizerOutput(F.smooth_l1_loss(recon, frames_BTCHW), recon, indices)
