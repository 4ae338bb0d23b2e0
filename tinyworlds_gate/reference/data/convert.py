"""From stored pixels to what the models read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def to_model_range(frames_BTHWC: torch.Tensor) -> torch.Tensor:
    """Map uint8 [B, T, H, W, C] to contiguous float32 [B, T, C, H, W] in [-1, 1]: x / 127.5 - 1."""
    import torch

    if frames_BTHWC.dtype != torch.uint8 or frames_BTHWC.ndim != 5:
        raise ValueError(f"uint8 [B, T, H, W, C] is needed, got {frames_BTHWC.dtype} {list(frames_BTHWC.shape)}")
    return frames_BTHWC.permute(0, 1, 4, 2, 3).to(torch.float32).contiguous().div_(127.5).sub_(1.0)
