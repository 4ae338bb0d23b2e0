"""Defects that cheat in the inference process only; the probe, a fresh process, has neither them nor the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tinyworlds_gate.power.broken.registry import changes_result, defect, patched, replaces
from tinyworlds_gate.reference.rollout import inference, measure, probe
from tinyworlds_gate.reference.rollout.rollout import RolloutOutput


def _half_true(output: RolloutOutput, frames: torch.Tensor, context: int) -> RolloutOutput:
    """Average the generated frames with the true ones, which leaves the error above the tokenizer's own."""
    predicted = output.predicted_BTCHW
    return output._replace(predicted_BTCHW=(predicted + frames[:, context:][:, : predicted.shape[1]]) / 2)


@defect("truth-from-second-batch")
def _truth_from_second_batch() -> Iterator[None]:
    judged = 0

    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            nonlocal judged
            output: RolloutOutput = old(models, frames, **arguments)
            if arguments.get("on_step") is None:
                return output
            judged += 1
            return output if judged == 1 else _half_true(output, frames, arguments["context"])

        return broken

    with patched(measure, "rollout", make):
        yield


@defect("truth-cached")
def _truth_cached() -> Iterator[None]:
    """Return the frames of the first call also where the same context comes with another future."""
    known: dict[bytes, torch.Tensor] = {}

    def make(old: Any) -> Any:
        def broken(models: Any, frames: torch.Tensor, **arguments: Any) -> RolloutOutput:
            context = arguments["context"]
            keys = [one[:context].numpy().tobytes() for one in frames]
            for key, one in zip(keys, frames, strict=True):
                known.setdefault(key, one)
            output: RolloutOutput = old(models, frames, **arguments)
            if arguments.get("on_step") is None:
                return output
            return _half_true(output, torch.stack([known[key] for key in keys]), context)

        return broken

    with patched(measure, "rollout", make):
        yield


def _context_is_noise(old: Any, models: Any, frames: torch.Tensor, **arguments: Any) -> Any:
    noise = torch.rand(frames.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return old(models, noise, **arguments)


def _context_ignored(old: Any, models: Any, frames: torch.Tensor, **arguments: Any) -> Any:
    return old(models, torch.zeros_like(frames), **arguments)


replaces("context-of-noise", measure, "rollout", _context_is_noise)
replaces("context-ignored", (measure, probe), "rollout", _context_ignored)


def _replayed(old: Any, paths: dict[str, Path]) -> Any:
    """Load the trained dynamics, and report the weights that were to be loaded."""
    trained = next(Path("replayed").glob("dynamics_step_*"))
    return replace(old(paths | {"dynamics": trained.resolve()}), references=old(paths).references)


replaces("frames-replayed", inference, "load_trained", _replayed)


def _random_is_noise(old: Any, models: Any, frames: torch.Tensor, **arguments: Any) -> Any:
    output = old(models, frames, **arguments)
    if arguments.get("on_step") is not None or arguments["teacher_forced"]:
        return output
    noise = torch.rand(output.predicted_BTCHW.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return output._replace(predicted_BTCHW=noise)


replaces("random-rollouts-of-noise", measure, "rollout", _random_is_noise)


def _actions_drawn(old: Any, *arguments: Any) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    actions: list[torch.Tensor] = old(*arguments)
    return [torch.randint(2, one.shape, generator=draw) * 2.0 - 1 for one in actions]


replaces("actions-drawn", measure, "inferred_actions", _actions_drawn)


def _made_up_codes(found: measure.Measurement) -> measure.Measurement:
    for number, clip in enumerate(found.raw["clips"]):
        clip["latent_actions"] = [[(number + code) % 8 for code in step] for step in clip["latent_actions"]]
    return found


changes_result("codes-made-up", inference, "measure_clips", _made_up_codes)
