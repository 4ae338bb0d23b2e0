"""Rollouts: generate the frames after a few true context frames with a world model, for many clips at once.

Axes: B clips, T frames, S generation steps, N transitions of a clip, K transitions that a step sees (context + horizon
- 1), C channels, H height, W width, P patches, L latent dims, A action dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.rollout.continuation import Continuation, NewFrames, Space
from tinyworlds_gate.reference.rollout.steps import EagerSteps, Steps
from tinyworlds_gate.reference.rollout.world_models import WorldModels


class RolloutOutput(NamedTuple):
    """Result of a rollout.

    predicted_BTCHW: the generated frames in [-1, 1], generation_steps * prediction_horizon of them.
    action_indices: `[B, S, K]`, the action codes of each step (with a growing memory, the last K).
    token_indices: `[B, T, P]` int64, the tokens of the generated frames.
    non_finite_BTCHW: bool, the values of the decoded frames that were NaN or infinite before clamping.
    """

    predicted_BTCHW: Tensor
    action_indices: Tensor
    token_indices: Tensor
    non_finite_BTCHW: Tensor


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
    """Generate generation_steps * prediction_horizon frames after the first `context` true frames.

    (docs/gate.md, docs/architecture.md)

    Args:
        models: the three trained models.
        frames_BTCHW: true frames in [-1, 1], context first.
        context: number of frames that each step reads: true at first, then generated.
        generation_steps: number of steps.
        prediction_horizon: frames generated per step, H.
        decode_steps: MaskGIT passes per step.
        temperature: see `maskgit_decode`.
        teacher_forced: the context of every step consists of true frames.
        space: "pixels" tokenises the frames again at each step, as TinyWorlds does; "tokens" tokenises the true context
            once and feeds generated tokens back as they are.
        memory: if above `context`, each step reads all frames so far, up to this number.
        actions: "inferred" from the true frames; "random": one uniform code per transition, fixed over the rollout; or
            latent actions `[B, S, K, A]`, or a sequence of them by step (`inferred_actions`, `actions_from_codes`).
        generator: source of random actions and of samples.
        on_step: called with the 0-based number of each step before it is taken.
        steps: implementation of a step; default `EagerSteps`.

    Raises:
        ConfigError: the clips are too short, or a setting is out of range.
    """
    inferred = isinstance(actions, str) and actions == "inferred"
    new_frames = generation_steps * prediction_horizon
    _check(frames_BTCHW, context, generation_steps, prediction_horizon, new_frames, needs_future=inferred)
    if space not in ("pixels", "tokens"):
        raise ConfigError(f"The rollout space is {space!r}; it must be 'pixels' or 'tokens'.")
    memory = context if memory is None else memory
    if memory < context:
        raise ConfigError(f"The memory is {memory} frames; it must be at least the context of {context} frames.")
    windows = step_windows(context, generation_steps, prediction_horizon, memory)
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
        followed = actions_from_codes(models, codes, windows)
    else:
        raise ConfigError(f"actions is {actions!r}; it must be 'inferred' or 'random'.")
    past = Continuation(
        models,
        frames_BTCHW[:, :context],
        steps or EagerSteps(models),
        memory=memory,
        horizon=prediction_horizon,
        decode_steps=decode_steps,
        temperature=temperature,
        space=space,
        generator=generator,
    )
    generated: list[NewFrames] = []
    for step, window in enumerate(windows):
        if on_step is not None:
            on_step(step)
        known = frames_BTCHW[:, window.start : window.stop - prediction_horizon]
        true = models.tokenizer.encode(known) if teacher_forced else None
        generated.append(past.step(followed[step], true))
    transitions = context + prediction_horizon - 1
    codes_BSK = torch.stack([models.latent_actions.action_indices(one[:, -transitions:]) for one in followed], dim=1)
    predicted, tokens, non_finite = (torch.cat(parts, dim=1) for parts in zip(*generated, strict=True))
    return RolloutOutput(predicted, codes_BSK, tokens, non_finite)


def step_windows(
    context: int, generation_steps: int, prediction_horizon: int = 1, memory: int | None = None
) -> list[range]:
    """Return the range of frames of each step: those it reads, at most `memory`, and those it generates."""
    memory = context if memory is None else memory
    ends = [context + step * prediction_horizon for step in range(generation_steps)]
    return [range(max(0, end - memory), end + prediction_horizon) for end in ends]


@torch.no_grad()
def inferred_actions(models: WorldModels, frames_BTCHW: Tensor, windows: Sequence[range]) -> list[Tensor]:
    """Return `[B, K, A]` for each step: the latent actions inferred from the true frames in its window."""
    latent_actions = models.latent_actions
    if latent_actions.frame_pairs:  # the action of a pair does not depend on the window
        actions_BNA = latent_actions.encode(frames_BTCHW[:, : windows[-1].stop])
        return [actions_BNA[:, one.start : one.stop - 1] for one in windows]
    return [latent_actions.encode(frames_BTCHW[:, one.start : one.stop]) for one in windows]


@torch.no_grad()
def actions_from_codes(models: WorldModels, codes_BN: Tensor, windows: Sequence[range]) -> list[Tensor]:
    """Return `[B, K, A]` for each step from one action code per transition of the clip."""
    quantizer = models.latent_actions.quantizer
    latents_BNA = quantizer.latents_from_indices(codes_BN.to(quantizer.basis.device))
    return [latents_BNA[:, one.start : one.stop - 1] for one in windows]


def copy_last(frames_BTCHW: Tensor, context: int, generation_steps: int, prediction_horizon: int = 1) -> Tensor:
    """Return the last context frame in place of every generated one, `[B, S*H, C, H, W]`: the copy-last baseline."""
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
