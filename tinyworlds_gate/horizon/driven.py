"""Drive many clips at once, an action code each at a time.

Axes: B clips, P context frames, K transitions, H, W pixels.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.rollout.continuation import Continuation
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, as_bytes, steps_on
from tinyworlds_gate.reference.rollout.world_models import WorldModels


class Driven(Protocol):
    """A model, or a game in its place, that goes on with the codes that it is given."""

    def reset(self, context_BPHWC: np.ndarray) -> None:
        """Start again from true frames, uint8."""

    def step(self, codes_B: np.ndarray) -> np.ndarray:
        """Return the frame of each clip after its code, uint8 [B, H, W, 3]."""


class DrivenModel:
    """World models as `Driven`; the frames are those of `play` for the same context and codes."""

    def __init__(self, models: WorldModels, settings: MeasureSettings, device: torch.device) -> None:
        """Take the models.

        Raises:
            ConfigError: a step generates several frames, so that a code cannot be chosen for each.
        """
        if settings.prediction_horizon != 1:
            raise ConfigError(
                f"prediction_horizon {settings.prediction_horizon}: an action is chosen for each frame, so only a "
                "model that generates one frame a step can be driven"
            )
        self._models, self._settings, self._device = models, settings, device
        self._steps = steps_on(models, settings, device)

    @torch.no_grad()
    def reset(self, context_BPHWC: np.ndarray) -> None:
        """Start again from true frames, uint8."""
        frames = to_model_range(torch.from_numpy(context_BPHWC)).to(self._device)
        self._clips = Continuation(
            self._models,
            frames,
            self._steps,
            memory=self._settings.memory or context_BPHWC.shape[1],
            horizon=1,
            decode_steps=self._settings.decode_steps,
            temperature=self._settings.temperature,
            space=self._settings.space,
            generator=torch.Generator(device=self._device).manual_seed(self._settings.seed),
        )
        self._codes_BK = self._inferred(frames)

    @torch.no_grad()
    def step(self, codes_B: np.ndarray) -> np.ndarray:
        """Return the frame of each clip after its code, uint8 [B, H, W, 3]."""
        new = torch.tensor(np.array(codes_B, np.int64))[:, None].to(self._codes_BK.device)
        self._codes_BK = torch.cat((self._codes_BK, new), dim=1)[:, -self._clips.transitions :]
        latents_BKA = self._models.latent_actions.quantizer.latents_from_indices(self._codes_BK)
        return as_bytes(self._clips.step(latents_BKA).frames_BHCHW)[:, 0]

    def _inferred(self, frames_BPCHW: Tensor) -> Tensor:
        """Return the codes [B, P - 1] of the context's transitions."""
        if frames_BPCHW.shape[1] < 2:
            return torch.empty((len(frames_BPCHW), 0), dtype=torch.int64, device=self._device)
        model = self._models.latent_actions
        return model.action_indices(model.encode(frames_BPCHW))


def drive(driven: Driven, context_BPHWC: np.ndarray, codes_BS: np.ndarray) -> np.ndarray:
    """Return the frames after a context with given codes, uint8 [B, S, H, W, 3]."""
    driven.reset(context_BPHWC)
    return np.stack([driven.step(codes_B) for codes_B in codes_BS.T], axis=1)


@torch.no_grad()
def reconstructed(models: WorldModels, frames_BTHWC: np.ndarray, device: torch.device) -> np.ndarray:
    """Return what the tokenizer makes of the last frame of each clip, uint8 [B, H, W, 3]."""
    frames = to_model_range(torch.from_numpy(frames_BTHWC)).to(device)
    latents = models.tokenizer.encode(frames)
    return as_bytes(models.tokenizer.decode_last(latents, 1).clamp(-1, 1))[:, 0]
