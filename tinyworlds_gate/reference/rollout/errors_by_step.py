"""Raw errors of a rollout, clip by clip and step by step; what they mean is decided in `tinyworlds_gate/gate/`.

Legend: B clips, S generated steps, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unit_range(frames: Tensor) -> Tensor:
    """Frames in [-1, 1] (clamped) as float32 in [0, 1]."""
    return (frames.float().clamp(-1, 1) + 1) / 2


def mse_by_clip_and_step(predicted_BSCHW: Tensor, true_BSCHW: Tensor) -> Tensor:
    """Mean squared error ``[B, S]`` over pixels and channels, frames mapped to [0, 1].

    Raises:
        ValueError: the shapes differ.
    """
    if predicted_BSCHW.shape != true_BSCHW.shape:
        raise ValueError(f"predicted {tuple(predicted_BSCHW.shape)} against true {tuple(true_BSCHW.shape)}")
    return (unit_range(predicted_BSCHW) - unit_range(true_BSCHW)).square().mean(dim=(2, 3, 4))


def mean_frame_error(true_BSCHW: Tensor, mean_frame_CHW: Tensor) -> Tensor:
    """Error ``[B, S]`` of always answering one frame (the mean of the training frames)."""
    return mse_by_clip_and_step(mean_frame_CHW.expand_as(true_BSCHW), true_BSCHW)


def in_batches(count: int, batch_size: int) -> list[slice]:
    """Slices that cover ``count`` clips, ``batch_size`` at a time."""
    return [slice(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]


def codes_of(actions: list[Tensor]) -> list[list[int]]:
    """Action indices of all batches as plain lists, one a clip."""
    return torch.cat(actions).tolist() if actions else []
