"""Convert frames to patch embeddings, and tokens back to pixels.

Axes: B batch, T frames, C channels, H height, W width, P patches (row-major), E embedding, p patch side.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.positions import spatial_code
from tinyworlds_gate.reference.models.sizes import CHANNELS, ModelSizes


def frames_to_patches(frames_BTCHW: Tensor, patch_size: int) -> Tensor:
    """Split frames into patches `[B, T, P, C*p*p]`, channel-major inside a patch."""
    B, T, C, H, W = frames_BTCHW.shape
    p = patch_size
    tiles = frames_BTCHW.reshape(B, T, C, H // p, p, W // p, p).permute(0, 1, 3, 5, 2, 4, 6)
    return tiles.reshape(B, T, (H // p) * (W // p), C * p * p)


def patches_to_frames(patches_BTPV: Tensor, patch_size: int) -> Tensor:
    """Inverse of `frames_to_patches`, for square frames."""
    B, T, P, _ = patches_BTPV.shape
    grid, p = int(P**0.5), patch_size
    tiles = patches_BTPV.reshape(B, T, grid, grid, CHANNELS, p, p).permute(0, 1, 4, 2, 5, 3, 6)
    return tiles.reshape(B, T, CHANNELS, grid * p, grid * p)


class PatchEmbedding(nn.Module):
    """Embeds each patch independently and adds its spatial position code."""

    spatial_code: Tensor

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.proj = nn.Conv2d(sizes.patch_values, sizes.embed_dim, kernel_size=1)
        self.register_buffer("spatial_code", spatial_code(sizes.grid, sizes.embed_dim), persistent=False)  # [P, E]

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        """Map frames in [-1, 1] to `[B, T, P, E]`. Raises ConfigError when their shape is not the model's."""
        side = self.sizes.frame_size
        if frames_BTCHW.dim() != 5 or tuple(frames_BTCHW.shape[2:]) != (CHANNELS, side, side):
            raise ConfigError(
                f"Frames of shape {list(frames_BTCHW.shape)} do not fit a model of frame_size {side}; "
                f"give [batch, frames, {CHANNELS}, {side}, {side}]."
            )
        patches = frames_to_patches(frames_BTCHW, self.sizes.patch_size)
        # A 1x1 convolution over the patch grid is a linear layer applied to each patch.
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias) + self.spatial_code


class PixelHead(nn.Module):
    """Maps each token to the pixels of its patch."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.patch_size = sizes.patch_size
        self.to_pixels = nn.Conv2d(sizes.embed_dim, sizes.patch_values, kernel_size=1)

    def forward(self, x_BTPE: Tensor) -> Tensor:
        """Map `[B, T, P, E]` to frames `[B, T, C, H, W]`, not clamped."""
        pixels = F.linear(x_BTPE, self.to_pixels.weight.flatten(1), self.to_pixels.bias)
        return patches_to_frames(pixels, self.patch_size)
