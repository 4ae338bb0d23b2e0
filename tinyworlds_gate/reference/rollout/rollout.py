"""Rollouts: the future that a world model dreams after a few true frames, many clips at once.

Axes: B clips, T frames, S generation steps, N transitions of a clip, K transitions that a step sees (context + horizon
- 1), C channels, H height, W width, P patches, L latent dims, A action dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout.steps import EagerSteps, Steps
from tinyworlds_gate.reference.rollout.world_models import WorldModels

Space = Literal["pixels", "tokens"]
"""What is fed back: frames that are tokenised again, as TinyWorlds does, or the tokens themselves."""


class RolloutOutput(NamedTuple):
    """What a rollout made.

    predicted_BTCHW: the generated frames only, in [-1, 1], generation_steps * prediction_horizon of them.
    action_indices: `[B, S, K]`, the codes that each step followed; of a growing memory its last K.
    token_indices: `[B, T, P]` int64, the tokens of the generated frames.
    non_finite: int64 scalar, how many values of the frames were no finite number before they were clamped.
    """

    predicted_BTCHW: Tensor
    action_indices: Tensor
    token_indices: Tensor
    non_finite: Tensor


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
    space: Space = "pixels",
    memory: int | None = None,
    actions: Literal["inferred", "random"] | Tensor | Sequence[Tensor] = "inferred",
    generator: torch.Generator | None = None,
    on_step: Callable[[int], None] | None = None,
    steps: Steps | None = None,
) -> RolloutOutput:
    """Continues the first `context` true frames (in [-1, 1]) by generation_steps * prediction_horizon frames.

    Each step sees the last `context` frames, true at first and then generated (always true when teacher_forced). With
    `memory` above `context` it sees all frames so far, up to that number.
    In pixel space they are tokenised again at each step, as TinyWorlds does; in token space the true context is
    tokenised once and generated tokens are fed back as they are. A step follows the latent actions of the true
    frames, or random ones: uniform codes drawn once per transition and fixed over the rollout (closed-loop.md,
    Definitions; tinyworlds.md §1, Rollout), or those given as `[B, S, K, A]` or step by step
    (`inferred_actions`, `chosen_actions`).
    `on_step` is called with the 0-based number of each step before it is taken. `steps` takes the steps, one operation
    after the other where none is given (`steps.py`).
    Raises ConfigError when the clips are too short or a setting is impossible.
    """
    inferred = isinstance(actions, str) and actions == "inferred"
    new_frames = generation_steps * prediction_horizon
    _check(frames_BTCHW, context, generation_steps, prediction_horizon, new_frames, needs_future=inferred)
    if space not in ("pixels", "tokens"):
        raise ConfigError(f"The rollout space is {space!r}; it must be 'pixels' or 'tokens'.")
    memory = context if memory is None else memory
    if memory < context:
        raise ConfigError(f"The memory is {memory} frames; it must hold the {context} context frames at least.")
    windows = windows_of(context, generation_steps, prediction_horizon, memory)
    followed: Sequence[Tensor]
    if isinstance(actions, Tensor):
        followed = actions.unbind(1)
    elif not isinstance(actions, str):
        followed = actions
    elif inferred:
        followed = inferred_actions(models, frames_BTCHW, windows)
    elif actions == "random":
        device = generator.device if generator is not None else None
        size = (frames_BTCHW.shape[0], context + new_frames - 1)
        codes = torch.randint(models.latent_actions.sizes.n_actions, size, generator=generator, device=device)
        followed = chosen_actions(models, codes, windows)
    else:
        raise ConfigError(f"actions is {actions!r}; it must be 'inferred' or 'random'.")
    tokenizer, steps = models.tokenizer, steps or EagerSteps(models)
    shown = frames_BTCHW[:, :context]
    known_BTPL = tokenizer.encode(shown)
    predicted: list[Tensor] = []
    tokens: list[Tensor] = []
    non_finite = torch.zeros((), dtype=torch.int64, device=known_BTPL.device)
    for step in range(generation_steps):
        first, last = windows[step].start, windows[step].stop - prediction_horizon
        if on_step is not None:
            on_step(step)
        if step > 0 and teacher_forced:
            known_BTPL = tokenizer.encode(frames_BTCHW[:, first:last])
        elif step > 0 and space == "pixels":
            known_BTPL = tokenizer.encode(shown)
        latents_BTPL, decoded = steps.take(
            known_BTPL, followed[step], prediction_horizon, decode_steps, temperature, generator
        )
        non_finite += (~decoded.isfinite()).sum()
        future = decoded.clamp(-1, 1)
        shown = torch.cat((shown, future), dim=1)[:, -memory:]
        known_BTPL = latents_BTPL[:, -memory:]
        predicted.append(future)
        tokens.append(tokenizer.quantizer.indices_from_latents(latents_BTPL[:, -prediction_horizon:]))
    transitions = context + prediction_horizon - 1
    codes_BSK = torch.stack([models.latent_actions.action_indices(one[:, -transitions:]) for one in followed], dim=1)
    return RolloutOutput(torch.cat(predicted, dim=1), codes_BSK, torch.cat(tokens, dim=1), non_finite)


def windows_of(
    context: int, generation_steps: int, prediction_horizon: int = 1, memory: int | None = None
) -> list[range]:
    """The frames of the clip that each step is about: those that it sees, at most `memory`, and the new ones."""
    memory = context if memory is None else memory
    ends = [context + step * prediction_horizon for step in range(generation_steps)]
    return [range(max(0, end - memory), end + prediction_horizon) for end in ends]


@torch.no_grad()
def inferred_actions(models: WorldModels, frames_BTCHW: Tensor, windows: Sequence[range]) -> list[Tensor]:
    """Returns `[B, K, A]` for each step: the latent actions of the true frames in its window."""
    latent_actions = models.latent_actions
    if latent_actions.frame_pairs:  # a pair has the same action in every window
        actions_BNA = latent_actions.encode(frames_BTCHW[:, : windows[-1].stop])
        return [actions_BNA[:, one.start : one.stop - 1] for one in windows]
    return [latent_actions.encode(frames_BTCHW[:, one.start : one.stop]) for one in windows]


@torch.no_grad()
def chosen_actions(models: WorldModels, codes_BN: Tensor, windows: Sequence[range]) -> list[Tensor]:
    """Returns `[B, K, A]` for each step: one code per transition of the clip, the same in every step that sees it."""
    quantizer = models.latent_actions.quantizer
    latents_BNA = quantizer.latents_from_indices(codes_BN.to(quantizer.basis.device))
    return [latents_BNA[:, one.start : one.stop - 1] for one in windows]


@torch.no_grad()
def tokenizer_reconstruction(tokenizer: VideoTokenizer, frames_BTCHW: Tensor) -> Tensor:
    """Returns the frames after one pass through the tokenizer, clamped to [-1, 1]: the floor of every rollout."""
    return tokenizer.decode(tokenizer.encode(frames_BTCHW)).clamp(-1, 1)


def copy_last(frames_BTCHW: Tensor, context: int, generation_steps: int, prediction_horizon: int = 1) -> Tensor:
    """Returns the last context frame in place of every generated one: the baseline of a world that stands still."""
    new_frames = generation_steps * prediction_horizon
    _check(frames_BTCHW, context, generation_steps, prediction_horizon, new_frames, needs_future=False)
    return frames_BTCHW[:, context - 1 : context].expand(-1, new_frames, -1, -1, -1)


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
