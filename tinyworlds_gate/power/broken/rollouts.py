"""Defects of the rollout: its frames, its arguments, its actions. Axes as in `reference/rollout/rollout.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tinyworlds_gate.power.broken.registry import changes_result, replaces
from tinyworlds_gate.power.world import COLOURS
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout import measure, probe
from tinyworlds_gate.reference.rollout.rollout import RolloutOutput

PROCESSES = (measure, probe)
"""Where rollouts are called: in the inference process, and in the probe of a defect that is everywhere."""
Frames = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


def _frames_are(name: str, change: Frames) -> None:
    """Register a defect that replaces the generated frames by ``change(predicted, frames, arguments)``."""

    def broken(old: Any, models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
        output: RolloutOutput = old(models, frames, **arguments)
        made = change(output.predicted_BTCHW, frames, arguments)
        bad = ~made.isfinite() | output.non_finite_BTCHW
        return output._replace(predicted_BTCHW=made.clamp(-1, 1), non_finite_BTCHW=bad)

    replaces(name, PROCESSES, "rollout", broken)


def _last_context(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    context = arguments["context"]
    return frames[:, context - 1 : context].expand_as(predicted)


def _truth(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    return frames[:, arguments["context"] :][:, : predicted.shape[1]]


def _last_step_true(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    return torch.cat((predicted[:, :-1], _truth(predicted, frames, arguments)[:, -1:]), dim=1)


def _one_value(value: float) -> Frames:
    def change(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
        made = predicted.clone()
        made[0, 0, 0, :2, :2] = value
        return made

    return change


def _noisy(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    return predicted + 0.1 * torch.randn(predicted.shape, generator=arguments["generator"])


def _mean_picture(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    """Return the mean colour of the game in every pixel."""
    colour = torch.from_numpy(COLOURS.mean(axis=(0, 1))).float() / 127.5 - 1
    return colour[:, None, None].expand_as(predicted)


def _same_noise(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    noise = torch.rand(predicted.shape[1:], generator=torch.Generator().manual_seed(0)) * 2 - 1
    return noise.expand_as(predicted)


_frames_are("copy-last", _last_context)
_frames_are("mean-picture", _mean_picture)
_frames_are("noise", _same_noise)
_frames_are("black", lambda p, f, a: torch.full_like(p, -1.0))
_frames_are("truth", _truth)
_frames_are("half-truth", lambda p, f, a: (p + _truth(p, f, a)) / 2)
_frames_are("last-step-true", _last_step_true)
_frames_are("nan-pixels", _one_value(float("nan")))
_frames_are("inf-pixels", _one_value(float("inf")))
_frames_are("frozen", lambda p, f, a: p[:, :1].expand_as(p))
_frames_are("reversed-time", lambda p, f, a: p.flip(1))
_frames_are("other-clip", lambda p, f, a: p.roll(1, dims=0))
_frames_are("blurred", lambda p, f, a: p.mean(dim=(3, 4), keepdim=True).expand_as(p))
_frames_are("sampling-noise", _noisy)


def _inferred_only(predicted: torch.Tensor, frames: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    """Return noise for all actions but those that the judged rollout of the inference process followed."""
    known = Path("inferred_actions")
    known.mkdir(exist_ok=True)
    made = predicted.clone()
    for clip, noise in enumerate(_same_noise(predicted, frames, arguments)):
        content = b"".join(step[clip].numpy().tobytes() for step in arguments["actions"])
        mark = known / hashlib.sha256(content).hexdigest()
        if arguments.get("on_step") is not None:
            mark.touch()
        elif not mark.exists() and not arguments.get("teacher_forced"):
            made[clip] = noise
    return made


_frames_are("inferred-actions-only", _inferred_only)


def _argument_is(name: str, **changes: Any) -> None:
    """Register a defect that calls the rollout with another argument than the reported one."""
    replaces(name, measure, "rollout", lambda old, *rest, **arguments: old(*rest, **(arguments | changes)))


_argument_is("teacher-forced", teacher_forced=True)
_argument_is("temperature", temperature=1.0)
_argument_is("decode-steps", decode_steps=1)
_argument_is("pixels-fed-back", space="pixels")


def _actions_are(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Register a defect that changes the inferred actions ``[B, S, K, A]`` before the rollout uses them."""
    changes_result(
        name, PROCESSES, "inferred_actions", lambda actions: list(change(torch.stack(actions, dim=1)).unbind(1))
    )


_actions_are("actions-one-step-late", lambda actions: actions.roll(1, dims=1))
_actions_are("actions-one-step-early", lambda actions: actions.roll(-1, dims=1))
_actions_are("actions-of-another-clip", lambda actions: actions.roll(1, dims=0))
_actions_are("actions-constant", torch.ones_like)
_actions_are("actions-negated", lambda actions: -actions)


def _seed_ignored(old: Any, *rest: Any, **arguments: Any) -> RolloutOutput:
    arguments["generator"].seed()
    output: RolloutOutput = old(*rest, **(arguments | {"temperature": 2.0}))
    return output


def _float16_overflow(frames: torch.Tensor) -> torch.Tensor:
    """Return the frames as half precision decodes them with a sum that overflows, like an unscaled residual stream."""
    half, loud = frames.half(), torch.tensor(6.0e4, dtype=torch.float16)
    return ((half * loud + loud * half.sign()) / (loud + loud.sign())).float()


replaces("seed-ignored", PROCESSES, "rollout", _seed_ignored)
changes_result("float16-overflow", VideoTokenizer, "decode", _float16_overflow)
