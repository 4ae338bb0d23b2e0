"""Drive the models: context frames in, an action code at a time, generated frames out.

The frames equal those of the gate's rollout for the same context and codes: both take their steps with `Continuation`.
One object serves one thread.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

import numpy as np
import torch

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.rollout.continuation import Continuation
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, as_bytes, steps_on
from tinyworlds_gate.reference.rollout.world_models import WorldModels

TRIED_STEPS = 12


class PlaySession:
    """One clip that goes on with the codes that a person chooses.

    ``codes`` holds one code for each transition so far: first those inferred from the context, then the chosen ones.
    ``new_frames`` counts the generated frames.
    """

    def __init__(self, models: WorldModels, settings: MeasureSettings, device: torch.device) -> None:
        self._models, self._settings, self._device = models, settings, device
        self._steps = steps_on(models, settings, device)
        self._clip: Continuation | None = None
        self.codes: list[int] = []
        self.new_frames = 0

    @property
    def on_gpu(self) -> bool:
        """Whether the models are on a GPU."""
        return self._device.type == "cuda"

    @property
    def n_actions(self) -> int:
        """Number of action codes."""
        return self._models.latent_actions.sizes.n_actions

    @torch.no_grad()
    def reset(self, context_THWC: np.ndarray) -> None:
        """Start again from true frames, uint8."""
        frames_BTCHW = to_model_range(torch.from_numpy(context_THWC)[None]).to(self._device)
        self._clip = Continuation(
            self._models,
            frames_BTCHW,
            self._steps,
            memory=self._settings.memory or len(context_THWC),
            horizon=self._settings.prediction_horizon,
            decode_steps=self._settings.decode_steps,
            temperature=self._settings.temperature,
            space=self._settings.space,
            generator=torch.Generator(device=self._device).manual_seed(self._settings.seed),
        )
        self.codes, self.new_frames = [], 0
        if len(context_THWC) > 1:
            latent_actions = self._models.latent_actions
            self.codes = latent_actions.action_indices(latent_actions.encode(frames_BTCHW))[0].tolist()

    @torch.no_grad()
    def step(self, code: int) -> np.ndarray:
        """Return the frames that follow an action code, uint8 [H, height, width, 3], H the prediction horizon.

        Raises:
            ConfigError: there is no such code, or `reset` was not called before.
        """
        if not 0 <= code < self.n_actions:
            raise ConfigError(f"action code {code}: the model has the codes 0 to {self.n_actions - 1}")
        if self._clip is None:
            raise ConfigError("no context: choose a clip before the first step")
        horizon = self._settings.prediction_horizon
        self.codes += [code] * horizon
        new = self._clip.step(self._actions(self.codes[-self._clip.transitions :]))
        self.new_frames += horizon
        return as_bytes(new.frames_BHCHW)[0]

    def _actions(self, codes: Sequence[int]) -> torch.Tensor:
        quantizer = self._models.latent_actions.quantizer
        return quantizer.latents_from_indices(torch.tensor([codes], device=quantizer.basis.device))


def choose_threads(session: PlaySession, context_THWC: np.ndarray) -> int:
    """Set the number of threads with which the model is fastest now, one or all, and return it.

    A small model on a busy machine is several times faster with one thread. ``OMP_NUM_THREADS`` and a GPU settle it.
    """
    everything = torch.get_num_threads()
    if everything == 1 or session.on_gpu or "OMP_NUM_THREADS" in os.environ:
        return everything
    seconds = math.inf
    for threads in (1, everything):
        torch.set_num_threads(threads)
        session.reset(context_THWC)
        began = time.perf_counter()
        for _ in range(TRIED_STEPS):
            session.step(0)
            if time.perf_counter() - began > seconds:
                torch.set_num_threads(1)
                return 1
        seconds = time.perf_counter() - began
    return everything
