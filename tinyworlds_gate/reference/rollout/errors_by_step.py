"""Raw errors of a rollout by clip and step; `tinyworlds_gate/gate/` judges them.

Axes: B clips, S generated steps, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

SSIM_SIDE = 11
"""Pixels: side of SSIM's Gaussian window (sigma 1.5); SSIM is undefined for smaller frames."""


def unit_range(frames: Tensor) -> Tensor:
    """Map frames in [-1, 1] (clamped) to float32 in [0, 1]."""
    return (frames.float().clamp(-1, 1) + 1) / 2


def mse_by_clip_and_step(predicted_BSCHW: Tensor, true_BSCHW: Tensor) -> Tensor:
    """Return the mean squared error ``[B, S]`` over pixels and channels, frames mapped to [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    _require_same_shape(predicted_BSCHW, true_BSCHW)
    return (unit_range(predicted_BSCHW) - unit_range(true_BSCHW)).square().mean(dim=(2, 3, 4))


def ssim_by_clip_and_step(predicted_BSCHW: Tensor, true_BSCHW: Tensor) -> Tensor | None:
    """Return the structural similarity ``[B, S]`` of frames mapped to [0, 1], by torchmetrics (reflected borders).

    11 × 11 Gaussian window (Wang et al. 2004); 1 for equal frames. None when a frame is smaller than the window.

    Raises:
        ValueError: the shapes differ.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _require_same_shape(predicted_BSCHW, true_BSCHW)
    if min(true_BSCHW.shape[-2:]) < SSIM_SIDE:
        return None
    # SSIM subtracts nearly equal squares, for which TF32 products are too coarse.
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        found = [
            structural_similarity_index_measure(
                unit_range(predicted_SCHW), unit_range(true_SCHW), data_range=1.0, reduction="none"
            )
            for predicted_SCHW, true_SCHW in zip(predicted_BSCHW, true_BSCHW, strict=True)
        ]
    return torch.stack([one for one in found if isinstance(one, Tensor)])


def mean_frame_error(true_BSCHW: Tensor, mean_frame_CHW: Tensor) -> Tensor:
    """Return the MSE ``[B, S]`` of predicting one constant frame (the mean of the training frames)."""
    return mse_by_clip_and_step(mean_frame_CHW.expand_as(true_BSCHW), true_BSCHW)


def in_batches(count: int, batch_size: int) -> list[slice]:
    """Return slices of at most ``batch_size`` that cover ``count`` clips."""
    return [slice(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]


def _require_same_shape(predicted: Tensor, true: Tensor) -> None:
    if predicted.shape != true.shape:
        raise ValueError(f"predicted {tuple(predicted.shape)} against true {tuple(true.shape)}")
