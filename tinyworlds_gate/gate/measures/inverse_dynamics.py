"""Which action led from one frame to the next? A probe trained on true frames, applied to generated ones.

If a model's frames follow the actions as the game does, the probe reads them as well from generated frames as from true
ones. The probe is a small convolutional classifier of pairs of frames.

Axes: N pairs of frames, B clips, S generated frames, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

CHANNELS = (24, 48, 48)
"""Of the probe's layers; each halves the frame's side."""
UPDATES, BATCH, LEARNING_RATE = 1200, 128, 2e-3
AT_ONCE = 512
LEAST_OVER_CHANCE = 0.05
"""By so much the probe must beat the most frequent action on true frames; else it says nothing about a model."""


@dataclass(frozen=True)
class InverseProbe:
    """A trained classifier of pairs of frames."""

    network: nn.Module
    device: torch.device

    def actions(self, before_NHWC: np.ndarray, after_NHWC: np.ndarray) -> np.ndarray:
        """Return the likeliest action [N] of each pair of uint8 frames."""
        import torch

        found = []
        with torch.no_grad():
            for low in range(0, len(after_NHWC), AT_ONCE):
                pairs = _pairs(before_NHWC[low : low + AT_ONCE], after_NHWC[low : low + AT_ONCE], self.device)
                found.append(self.network(pairs).argmax(dim=1).cpu().numpy())
        actions: np.ndarray = np.concatenate(found)
        return actions


@dataclass(frozen=True)
class ActionAccuracy:
    """Shares of right actions, on true and on generated frames of the same clips."""

    true: float
    generated: float
    generated_by_step: list[float]
    most_frequent: float
    """The share of the most frequent action, which needs no frames."""

    @property
    def ratio(self) -> float | None:
        """Accuracy on generated over true frames; None where the probe cannot read true frames either."""
        if self.true < self.most_frequent + LEAST_OVER_CHANCE:
            return None
        return self.generated / self.true


def fit_probe(
    frames_NHWC: np.ndarray,
    first_N: np.ndarray,
    actions_N: np.ndarray,
    count: int,
    *,
    device: torch.device,
    updates: int = UPDATES,
    seed: int = 0,
) -> InverseProbe:
    """Train a probe of ``count`` actions; the same arguments give the same probe on one device.

    Args:
        frames_NHWC: uint8 frames of true episodes.
        first_N: the first frame of each training pair; the second one follows it.
        actions_N: the action that led from the first to the second.
        count: actions of the game.
        device: where it is trained and applied.
        updates: batches of ``BATCH`` pairs.
        seed: of initial weights and batches.
    """
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(frames_NHWC.shape[-1], count).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=updates)
    for _ in range(updates):
        drawn = rng.integers(0, len(first_N), min(BATCH, len(first_N)))
        first = first_N[drawn]
        scores = network(_pairs(frames_NHWC[first], frames_NHWC[first + 1], device))
        loss = F.cross_entropy(scores, torch.from_numpy(actions_N[drawn].astype(np.int64)).to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return InverseProbe(network.eval(), device)


def action_accuracy(
    probe: InverseProbe, context_BHWC: np.ndarray, true_BSHWC: np.ndarray, made_BSHWC: np.ndarray, true_BS: np.ndarray
) -> ActionAccuracy:
    """Return how often the probe reads the true actions [B, S] from true and from generated frames.

    Args:
        probe: fitted on pairs of other episodes.
        context_BHWC: the last context frame of each clip.
        true_BSHWC: the true frames after it.
        made_BSHWC: the generated ones, of the same clips.
        true_BS: the action that leads into each of these frames.
    """
    right = {name: _right(probe, context_BHWC, frames, true_BS) for name, frames in _named(true_BSHWC, made_BSHWC)}
    shares = np.bincount(true_BS.ravel()) / true_BS.size
    by_step = [float(one) for one in right["generated"].mean(axis=0)]
    return ActionAccuracy(float(right["true"].mean()), float(right["generated"].mean()), by_step, float(shares.max()))


def _named(true_BSHWC: np.ndarray, made_BSHWC: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [("true", true_BSHWC), ("generated", made_BSHWC)]


def _right(probe: InverseProbe, context_BHWC: np.ndarray, frames_BSHWC: np.ndarray, true_BS: np.ndarray) -> np.ndarray:
    before = np.concatenate([context_BHWC[:, None], frames_BSHWC[:, :-1]], axis=1)
    read = [probe.actions(before[:, step], frames_BSHWC[:, step]) for step in range(true_BS.shape[1])]
    right: np.ndarray = np.stack(read, axis=1) == true_BS
    return right


def _pairs(before_NHWC: np.ndarray, after_NHWC: np.ndarray, device: torch.device) -> Tensor:
    """Return the second frame and the change to it, float32 [N, 2C, H, W]."""
    import torch

    before, after = (
        torch.from_numpy(np.ascontiguousarray(one)).to(device).permute(0, 3, 1, 2).float() / 255
        for one in (before_NHWC, after_NHWC)
    )
    return torch.cat((after - 0.5, 4 * (after - before)), dim=1)


def _network(colours: int, count: int) -> nn.Module:
    """Return a classifier whose largest and mean responses over all places decide, wherever something happens."""
    import torch
    from torch import nn

    class Pooled(nn.Module):
        def forward(self, x_NCHW: Tensor) -> Tensor:
            return torch.cat((x_NCHW.amax(dim=(2, 3)), x_NCHW.mean(dim=(2, 3))), dim=1)

    layers: list[nn.Module] = []
    width = 2 * colours
    for channels in CHANNELS:
        layers += [nn.Conv2d(width, channels, 3, stride=2, padding=1), nn.GELU()]
        width = channels
    return nn.Sequential(*layers, Pooled(), nn.Linear(2 * width, 128), nn.GELU(), nn.Linear(128, count))
