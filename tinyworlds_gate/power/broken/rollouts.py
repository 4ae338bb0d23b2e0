"""Defects of the rollout: its frames, its arguments, its actions. Axes as in `reference/rollout/rollout.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from tinyworlds_gate.power.broken.registry import BROKEN, defect, patched
from tinyworlds_gate.reference.rollout import measure
from tinyworlds_gate.reference.rollout.rollout import RolloutOutput

Frames = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


def _frames_are(name: str, change: Frames) -> None:
    """Register a defect that replaces the generated frames by ``change(predicted, frames, arguments)``."""

    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            output: RolloutOutput = old(models, frames, **arguments)
            made = change(output.predicted_BTCHW, frames, arguments)
            bad = (~made.isfinite()).sum() + output.non_finite
            return output._replace(predicted_BTCHW=made.clamp(-1, 1), non_finite=bad)

        return broken

    BROKEN[name] = lambda: patched(measure, "rollout", make)


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


_frames_are("copy-last", _last_context)
_frames_are("mean-picture", lambda p, f, a: f[:, : a["context"]].mean(dim=(0, 1), keepdim=True).expand_as(p))
_frames_are("noise", lambda p, f, a: torch.rand(p.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
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


def _argument_is(name: str, **changes: Any) -> None:
    """Register a defect that calls the rollout with another argument than the reported one."""

    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            output: RolloutOutput = old(models, frames, **(arguments | changes))
            return output

        return broken

    BROKEN[name] = lambda: patched(measure, "rollout", make)


_argument_is("teacher-forced", teacher_forced=True)
_argument_is("temperature", temperature=1.0)


def _actions_are(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Register a defect that changes the inferred actions ``[B, S, K, A]`` before the rollout uses them."""

    def make(old: Any) -> Any:
        return lambda *arguments: list(change(torch.stack(old(*arguments), dim=1)).unbind(1))

    BROKEN[name] = lambda: patched(measure, "inferred_actions", make)


_actions_are("actions-one-step-late", lambda actions: actions.roll(1, dims=1))
_actions_are("actions-one-step-early", lambda actions: actions.roll(-1, dims=1))
_actions_are("actions-of-another-clip", lambda actions: actions.roll(1, dims=0))
_actions_are("actions-constant", lambda actions: actions[:1, :1].expand_as(actions).contiguous())
_actions_are("actions-negated", lambda actions: -actions)


@defect("seed-ignored")
def _seed_ignored() -> Iterator[None]:
    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            arguments["generator"].seed()
            output: RolloutOutput = old(models, frames, **(arguments | {"temperature": 2.0}))
            return output

        return broken

    with patched(measure, "rollout", make):
        yield


@defect("float16-overflow")
def _float16_overflow() -> Iterator[None]:
    """Decode in half precision with a sum that overflows, as an unscaled residual stream does."""
    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

    def make(old: Any) -> Any:
        def broken(tokenizer: Any, latents: torch.Tensor) -> torch.Tensor:
            frames: torch.Tensor = old(tokenizer, latents).half()
            loud = torch.tensor(6.0e4, dtype=torch.float16)
            return ((frames * loud + loud * frames.sign()) / (loud + loud.sign())).float()

        return broken

    with patched(VideoTokenizer, "decode", make):
        yield
