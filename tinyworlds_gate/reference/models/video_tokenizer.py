"""The video tokenizer (first stage): encodes frames as discrete tokens and decodes them.

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
    """Output of a training pass: loss (scalar), recon `[B, T, C, H, W]` and token indices `[B, T, P]`."""

    loss: Tensor
    recon: Tensor
    indices: Tensor


class TokenizerEncoder(nn.Module):
    """Encodes frames as latents before quantisation."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(sizes)
        self.transformer = SpaceTimeTransformer(sizes)
        self.latent_head = NormedLinear(sizes.embed_dim, sizes.latent_dim)

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        """Map frames to `[B, T, P, L]`."""
        latents: Tensor = self.latent_head(self.transformer(self.patch_embed(frames_BTCHW)))
        return latents


class TokenizerDecoder(nn.Module):
    """Decodes quantised latents to frames."""

    spatial_code: Tensor

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.latent_embed = nn.Linear(sizes.latent_dim, sizes.embed_dim)
        self.transformer = SpaceTimeTransformer(sizes)
        self.frame_head = PixelHead(sizes)
        self.register_buffer("spatial_code", spatial_code(sizes.grid, sizes.embed_dim), persistent=False)  # [P, E]

    def forward(self, latents_BTPL: Tensor) -> Tensor:
        """Map `[B, T, P, L]` to frames `[B, T, C, H, W]`, not clamped."""
        x_BTPE, _ = self.transformer.extend_latents(latents_BTPL, self.latent_embed, self.spatial_code)
        frames: Tensor = self.frame_head(x_BTPE)
        return frames


class VideoTokenizer(nn.Module):
    """A causal FSQ autoencoder of video: no frame depends on later ones.

    With ``frame_by_frame`` each frame is processed as a clip of one frame, so its tokens do not depend on the clip
    around it. The names and shapes of the weights are the same either way.
    """

    def __init__(self, sizes: ModelSizes, *, frame_by_frame: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        self.frame_by_frame = frame_by_frame
        self.encoder = TokenizerEncoder(sizes)
        self.quantizer = FiniteScalarQuantizer(sizes.latent_dim, sizes.num_bins)
        self.decoder = TokenizerDecoder(sizes)

    def encode(self, frames_BTCHW: Tensor) -> Tensor:
        """Map frames in [-1, 1] to quantised latents `[B, T, P, L]` in [-1, 1]."""
        prequant: Tensor = self._by_clip(self.encoder, frames_BTCHW)
        latents: Tensor = self.quantizer(prequant)
        return latents

    def tokenize(self, frames_BTCHW: Tensor) -> Tensor:
        """Map frames in [-1, 1] to token indices `[B, T, P]`, int64."""
        return self.quantizer.indices_from_latents(self.encode(frames_BTCHW))

    def decode(self, latents_BTPL: Tensor) -> Tensor:
        """Map quantised latents to frames `[B, T, C, H, W]`, not clamped."""
        return self._by_clip(self.decoder, latents_BTPL)

    def decode_last(self, latents_BTPL: Tensor, frames: int) -> Tensor:
        """Return the last ``frames`` frames of `decode`; frame by frame, the earlier ones are not computed."""
        if self.frame_by_frame:
            latents_BTPL = latents_BTPL[:, -frames:]
        return self.decode(latents_BTPL)[:, -frames:]

    def forward(self, frames_BTCHW: Tensor) -> TokenizerOutput:
        """Reconstruct frames; the loss is smooth-L1 against them (docs/architecture.md)."""
        latents = self.encode(frames_BTCHW)
        recon = self.decode(latents)
        indices = self.quantizer.indices_from_latents(latents.detach())
        return TokenizerOutput(F.smooth_l1_loss(recon, frames_BTCHW), recon, indices)

    def _by_clip(self, part: nn.Module, x: Tensor) -> Tensor:
        """Apply a part to clips `[B, T, …]`, or with ``frame_by_frame`` to each frame alone."""
        split = self.frame_by_frame and x.shape[1] > 1
        y: Tensor = part(x.flatten(0, 1)[:, None] if split else x)
        return y[:, 0].unflatten(0, x.shape[:2]) if split else y
