"""Rollouts in pixel space: the future that a world model dreams after a few true frames, many clips at once.

Axes: B clips, T frames, C channels, H height, W width, P patches, L latent dims, A action dims.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.maskgit import maskgit_decode
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout.world_models import WorldModels


class RolloutOutput(NamedTuple):
    """What a rollout made.

    predicted_BTCHW: the generated frames only, in [-1, 1], generation_steps * prediction_horizon of them.
    action_indices: `[B, generation_steps, context + prediction_horizon - 1]`, the codes that each step followed.
    """

    predicted_BTCHW: Tensor
    action_indices: Tensor


@torch.no_grad()
def rollout(
    models: WorldModels,
    frames_BTCHW: Tensor,
    *,
    context: int,
    generation_steps: int,
    prediction_horizon: int = 1,
    decode_steps: int = 16,
    temperature: float = 0.0,
    teacher_forced: bool = False,
    actions: Literal["inferred", "random"] = "inferred",
    generator: torch.Generator | None = None,
    on_step: Callable[[int], None] | None = None,
) -> RolloutOutput:
    """Continues the first `context` true frames (in [-1, 1]) by generation_steps * prediction_horizon frames.

    Each step re-tokenises the last `context` frames, true at first and then generated (always true when
    teacher_forced), and follows the latent actions of the true frames, or random ones: uniform codes drawn
    once per transition and fixed over the rollout (closed-loop.md, Definitions; tinyworlds.md §1, Rollout).
    `on_step` is called with the 0-based number of each step before it is taken.
    Raises ConfigError when the clips are too short or a setting is impossible.
    """
    new_frames = generation_steps * prediction_horizon
    _check(frames_BTCHW, context, generation_steps, prediction_horizon, new_frames, needs_future=actions == "inferred")
    if actions == "random":
        drawn = _random_actions(models, frames_BTCHW.shape[0], context + new_frames - 1, generator)
    elif actions != "inferred":
        raise ConfigError(f"actions is {actions!r}; it must be 'inferred' or 'random'.")
    shown = frames_BTCHW[:, :context]
    predicted: list[Tensor] = []
    codes: list[Tensor] = []
    for start in range(0, new_frames, prediction_horizon):
        end = start + context + prediction_horizon
        if on_step is not None:
            on_step(start // prediction_horizon)
        if actions == "random":
            followed = drawn[:, start : end - 1]
        else:
            followed = models.latent_actions.encode(frames_BTCHW[:, start:end])  # [B, context + horizon - 1, A]
        if teacher_forced:
            shown = frames_BTCHW[:, start : start + context]
        future = _imagine(models, shown, followed, prediction_horizon, decode_steps, temperature, generator)
        shown = torch.cat((shown, future), dim=1)[:, -context:]
        predicted.append(future)
        codes.append(models.latent_actions.action_indices(followed))
    return RolloutOutput(torch.cat(predicted, dim=1), torch.stack(codes, dim=1))


@torch.no_grad()
def tokenizer_reconstruction(tokenizer: VideoTokenizer, frames_BTCHW: Tensor) -> Tensor:
    """Returns the frames after one pass through the tokenizer, clamped to [-1, 1]: the floor of every rollout."""
    return tokenizer.decode(tokenizer.encode(frames_BTCHW)).clamp(-1, 1)


def copy_last(frames_BTCHW: Tensor, context: int, generation_steps: int, prediction_horizon: int = 1) -> Tensor:
    """Returns the last context frame in place of every generated one: the baseline of a world that stands still."""
    new_frames = generation_steps * prediction_horizon
    _check(frames_BTCHW, context, generation_steps, prediction_horizon, new_frames, needs_future=False)
    return frames_BTCHW[:, context - 1 : context].expand(-1, new_frames, -1, -1, -1)


def _imagine(
    models: WorldModels,
    shown_BTCHW: Tensor,
    actions_BTA: Tensor,
    horizon: int,
    decode_steps: int,
    temperature: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Returns the next `horizon` frames after those shown, clamped to [-1, 1]."""
    context_latents = models.tokenizer.encode(shown_BTCHW)
    latents = maskgit_decode(
        models.dynamics,
        models.tokenizer.quantizer,
        context_latents,
        horizon,
        actions_BTA,
        decode_steps,
        temperature,
        generator,
    )
    return models.tokenizer.decode(latents)[:, -horizon:].clamp(-1, 1)


def _random_actions(models: WorldModels, clips: int, transitions: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else None
    codes = torch.randint(
        models.latent_actions.sizes.n_actions, (clips, transitions), generator=generator, device=device
    )
    quantizer = models.latent_actions.quantizer
    return quantizer.latents_from_indices(codes.to(quantizer.basis.device))


def _check(
    frames: Tensor, context: int, generation_steps: int, horizon: int, new_frames: int, *, needs_future: bool
) -> None:
    for name, value in (("context", context), ("generation_steps", generation_steps), ("prediction_horizon", horizon)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
    needed = context + new_frames if needs_future else context
    if frames.shape[1] < needed:
        raise ConfigError(
            f"The clips have {frames.shape[1]} frames; {context} context frames"
            + (f" and {new_frames} generated ones whose actions are inferred" if needs_future else "")
            + f" need {needed}."
        )
