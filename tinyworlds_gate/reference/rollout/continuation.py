"""Continue a clip step by step: what a step of a rollout reads, and what the next one reads after it.

`rollout` takes the steps of a whole clip at once; `tinyworlds_gate/play/` takes one for each key that a person presses.

Axes: B clips, T known frames, H new frames, K transitions (T + H - 1), C channels, P patches, L latent dims, A action
dims.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tinyworlds_gate.reference.rollout.steps import Steps
from tinyworlds_gate.reference.rollout.world_models import WorldModels

Space = Literal["pixels", "tokens"]
"""What each step feeds back: decoded frames, tokenised again as in TinyWorlds, or the tokens themselves."""


class NewFrames(NamedTuple):
    """Result of a step: frames_BHCHW in [-1, 1]; tokens_BHP int64; non_finite_BHCHW bool, before clamping."""

    frames_BHCHW: Tensor
    tokens_BHP: Tensor
    non_finite_BHCHW: Tensor


class Continuation:
    """A clip that grows by ``horizon`` frames with each step, of which a step reads at most the last ``memory``."""

    def __init__(
        self,
        models: WorldModels,
        context_BTCHW: Tensor,
        steps: Steps,
        *,
        memory: int,
        horizon: int,
        decode_steps: int,
        temperature: float,
        space: Space,
        generator: torch.Generator | None,
    ) -> None:
        self._models, self._steps, self._space = models, steps, space
        self._memory, self._horizon, self._decode_steps = memory, horizon, decode_steps
        self._temperature, self._generator = temperature, generator
        self._shown_BTCHW = context_BTCHW
        self._known_BTPL: Tensor | None = None

    @property
    def transitions(self) -> int:
        """Number of actions that the next step needs: one for each transition between the frames that it reads and
        those that it generates."""
        return self._shown_BTCHW.shape[1] + self._horizon - 1

    @torch.no_grad()
    def step(self, actions_BKA: Tensor, true_BTPL: Tensor | None = None) -> NewFrames:
        """Generate the next frames; with ``true_BTPL`` (teacher forcing) the step reads these tokens instead."""
        known_BTPL = true_BTPL if true_BTPL is not None else self._known_BTPL
        if true_BTPL is None and (known_BTPL is None or self._space == "pixels"):
            known_BTPL = self._models.tokenizer.encode(self._shown_BTCHW)
        assert known_BTPL is not None
        latents_BTPL, decoded = self._steps.take(
            known_BTPL, actions_BKA, self._horizon, self._decode_steps, self._temperature, self._generator
        )
        future = decoded.clamp(-1, 1)
        self._shown_BTCHW = torch.cat((self._shown_BTCHW, future), dim=1)[:, -self._memory :]
        self._known_BTPL = latents_BTPL[:, -self._memory :]
        tokens = self._models.tokenizer.quantizer.indices_from_latents(latents_BTPL[:, -self._horizon :])
        return NewFrames(future, tokens, ~decoded.isfinite())
