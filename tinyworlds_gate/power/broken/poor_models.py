"""Defects of models that errors alone do not show: predictions that need no model, and a few bad or lucky clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tinyworlds_gate.gate.measures.baselines import TrainingFrames, fitted_weights, mean_frame
from tinyworlds_gate.power.broken.registry import replaces
from tinyworlds_gate.power.world import EPISODES, TILE_PX
from tinyworlds_gate.reference.rollout import measure, probe

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _frames_are(name: str, change: Predict) -> None:
    """Register a model that generates ``change(predicted, context)``, in the probe too."""

    def broken(old: Any, models: Any, frames: torch.Tensor, **arguments: Any) -> Any:
        output = old(models, frames, **arguments)
        made = change(output.predicted_BTCHW, frames[:, : arguments["context"]])
        return output._replace(predicted_BTCHW=made.clamp(-1, 1))

    replaces(name, (measure, probe), "rollout", broken)


def _best_blend(predicted: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Return the last frame and the context mean with the weights that fit the training clips best."""
    training = TrainingFrames(next(Path("data").glob("*_frames.h5")), tuple(range(EPISODES)), 1)
    size = context.shape[-1]
    weights_SN = fitted_weights(training, context.shape[1], predicted.shape[1], size, (0, 0)).weights_SN
    mean_HWC = torch.from_numpy(mean_frame(training, size, (0, 0))).float() / 127.5 - 1
    known = (context[:, -1:], context.mean(dim=1, keepdim=True), mean_HWC.permute(2, 0, 1))
    weights_SN111 = torch.from_numpy(weights_SN).float()[..., None, None, None]
    return sum((weights_SN111[:, number] * one for number, one in enumerate(known)), torch.zeros_like(predicted))


def _checkered(amplitude: float, predicted: torch.Tensor) -> torch.Tensor:
    """Add a checkered error to frames in [-1, 1]; its mean square in [0, 1] is the square of half the amplitude."""
    height, width = predicted.shape[-2:]
    signs = (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2 - 1
    return predicted + amplitude * signs


def _in_rooms(amplitude: float, chosen: Callable[[torch.Tensor], torch.Tensor]) -> Predict:
    """Return the model with an error in the clips whose room has a chosen share of bright tiles."""

    def change(predicted: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        tiles = context[:, 0, :, ::TILE_PX, ::TILE_PX].sum(dim=1)
        middle = (tiles.amax(dim=(-1, -2), keepdim=True) + tiles.amin(dim=(-1, -2), keepdim=True)) / 2
        share_B = (tiles > middle).float().mean(dim=(-1, -2))
        return torch.where(chosen(share_B)[:, None, None, None, None], _checkered(amplitude, predicted), predicted)

    return change


_frames_are("context-mean", lambda predicted, context: context.mean(dim=1, keepdim=True).expand_as(predicted))
_frames_are("best-blend", _best_blend)
_frames_are("bad-in-few-rooms", _in_rooms(0.42, lambda share: share > 0.6))
_frames_are("good-in-few-rooms", _in_rooms(0.28, lambda share: share <= 0.6))
