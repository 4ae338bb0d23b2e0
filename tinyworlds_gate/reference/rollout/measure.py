"""Measure the rollouts of a set of clips: raw errors of every clip and step, without a summary.

Axes: B clips, S generated frames, N transitions of a clip, C channels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.config.schema import TokenChoice
from tinyworlds_gate.reference.models.maskgit import token_chooser
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout import errors_by_step as errors
from tinyworlds_gate.reference.rollout.clip_set import ClipSet
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE, GeneratedFrames
from tinyworlds_gate.reference.rollout.rollout import (
    Space,
    actions_from_codes,
    copy_last,
    inferred_actions,
    rollout,
    step_windows,
)
from tinyworlds_gate.reference.rollout.steps import EagerSteps, GraphedSteps, Steps
from tinyworlds_gate.reference.rollout.world_models import WorldModels

MEASURES_SCHEMA = 5
"""2 added SSIM, both strict and teacher-forced errors, and token counts; 3 added the generated frames and probes; 4 the
frames of random actions and the non-finite values; 5 the action codes of every step, in place of the probes."""


@dataclass(frozen=True)
class MeasureSettings:
    """Settings of the rollouts (see `rollout`); ``batch_size`` affects speed and memory only."""

    generation_steps: int
    prediction_horizon: int = 1
    decode_steps: int = 16
    temperature: float = 0.0
    teacher_forced: bool = False
    space: Space = "tokens"
    memory: int | None = None
    token_choice: TokenChoice = "likeliest"
    batch_size: int = 16
    seed: int = 0

    @property
    def new_frames(self) -> int:
        """Number of generated frames of a clip."""
        return self.generation_steps * self.prediction_horizon


@dataclass(frozen=True)
class Measurement:
    """The raw measures of all clips as plain data, and the generated frames they were computed from."""

    raw: dict[str, Any]
    generated: GeneratedFrames


@torch.no_grad()
def measure_clips(
    models: WorldModels,
    clips: ClipSet,
    settings: MeasureSettings,
    device: torch.device,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> Measurement:
    """Roll out all clips and measure every generated frame.

    Each clip is rolled out three times: in the configured mode (strict or teacher-forced), in the other mode, and with
    random actions. ``on_progress`` is called before each step of the first rollout with the 0-based step, the 1-based
    number of the batch, and the number of batches.
    """
    batches = errors.in_batches(len(clips.starts), settings.batch_size)
    n_actions = models.latent_actions.sizes.n_actions
    random_codes = draw_codes(n_actions, len(clips.starts), clips.context + settings.new_frames - 1, settings.seed)
    tables: dict[str, list[Tensor]] = {}
    frames: dict[str, list[np.ndarray]] = {}
    vocabulary = models.dynamics.sizes.vocabulary
    counts = {key: torch.zeros(vocabulary, dtype=torch.int64, device=device) for key in ("token", "generated_token")}
    non_finite = 0
    steps = steps_on(models, settings, device)
    windows = step_windows(clips.context, settings.generation_steps, settings.prediction_horizon, settings.memory)
    for number, batch in enumerate(batches):

        def on_step(step: int, number: int = number) -> None:
            if on_progress is not None:
                on_progress(step, number + 1, len(batches))

        found = _measure_batch(
            models,
            clips.frames_BTCHW[batch].to(device),
            clips,
            settings,
            windows,
            actions_from_codes(models, random_codes[batch], windows),
            settings.seed + number,
            counts,
            on_step,
            steps,
        )
        for key, table in found.tables.items():
            tables.setdefault(key, []).append(table)
        for key, batch_BSCHW in found.frames.items():
            frames.setdefault(key, []).append(as_bytes(batch_BSCHW))
        frames.setdefault("codes", []).append(found.codes)
        frames.setdefault("non_finite", []).append(np.packbits(found.non_finite.flatten(2).cpu().numpy(), axis=-1))
        non_finite += int(found.non_finite.sum())
    columns = {key: torch.cat(parts).cpu().tolist() for key, parts in tables.items()}
    rows = [
        {
            "start": int(start),
            "episode": int(episode),
            **{key: column[index] for key, column in columns.items()},
        }
        for index, (start, episode) in enumerate(zip(clips.starts, clips.episodes, strict=True))
    ]
    raw = {
        "schema": MEASURES_SCHEMA,
        "clips": rows,
        **clips.origin(),
        "generation_steps": settings.new_frames,
        "prediction_horizon": settings.prediction_horizon,
        "decode_steps": settings.decode_steps,
        "temperature": settings.temperature,
        "teacher_forced": settings.teacher_forced,
        "rollout": settings.space,
        "memory_window": settings.memory or clips.context,
        "token_choice": settings.token_choice,
        "n_actions": n_actions,
        "token_counts": counts["token"].tolist(),
        "generated_token_counts": counts["generated_token"].tolist(),
        "non_finite_values": non_finite,
        "seed": settings.seed,
        "device": str(device),
    }
    return Measurement(raw, GeneratedFrames(**{key: np.concatenate(parts) for key, parts in frames.items()}))


def draw_codes(n_actions: int, clips: int, transitions: int, seed: int) -> Tensor:
    """Return uniform action codes ``[clips, transitions]``.

    Drawn for all clips at once on the CPU, so that they do not depend on batch size or device.
    """
    return torch.randint(n_actions, (clips, transitions), generator=torch.Generator().manual_seed(seed))


def steps_on(models: WorldModels, settings: MeasureSettings, device: torch.device) -> Steps:
    """Return the implementation of a rollout's steps for a device."""
    choose = token_chooser(settings.token_choice, models.tokenizer.quantizer)
    return GraphedSteps(models, choose=choose) if device.type == "cuda" else EagerSteps(models, choose)


@torch.no_grad()
def reconstruction(tokenizer: VideoTokenizer, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the latents of the frames and their reconstruction error ``[B]``, on frames in [0, 1]."""
    latents = tokenizer.encode(frames_BTCHW)
    reconstructed = tokenizer.decode(latents).clamp(-1, 1)
    return latents, errors.mse_by_clip_and_step(reconstructed, frames_BTCHW).mean(dim=1)


class _MeasuredBatch(NamedTuple):
    tables: dict[str, Tensor]
    frames: dict[str, Tensor]
    non_finite: Tensor
    codes: np.ndarray


def _measure_batch(
    models: WorldModels,
    frames: Tensor,
    clips: ClipSet,
    settings: MeasureSettings,
    windows: Sequence[range],
    random_actions: Sequence[Tensor],
    seed: int,
    counts: dict[str, Tensor],
    on_step: Callable[[int], None],
    steps: Steps,
) -> _MeasuredBatch:
    """Measure one batch of clips and add its token counts to ``counts``."""
    context = clips.context
    true = frames[:, context : context + settings.new_frames]
    actions = inferred_actions(models, frames, windows)
    shared: dict[str, Any] = {
        "context": context,
        "generation_steps": settings.generation_steps,
        "prediction_horizon": settings.prediction_horizon,
        "decode_steps": settings.decode_steps,
        "temperature": settings.temperature,
        "space": settings.space,
        "memory": settings.memory,
        "steps": steps,
    }
    forced = settings.teacher_forced

    def seeded(number: int) -> torch.Generator:
        return torch.Generator(device=frames.device).manual_seed(number)

    judged = rollout(
        models, frames, actions=actions, teacher_forced=forced, on_step=on_step, generator=seeded(seed), **shared
    )
    other = rollout(models, frames, actions=actions, teacher_forced=not forced, generator=seeded(seed), **shared)
    random = rollout(models, frames, actions=random_actions, teacher_forced=forced, generator=seeded(seed), **shared)
    shown = {"predicted": judged.predicted_BTCHW, "random": random.predicted_BTCHW}
    latents, recon_mse = reconstruction(models.tokenizer, frames[:, : context + 1])
    for key, tokens in (
        ("token", models.tokenizer.quantizer.indices_from_latents(latents)),
        ("generated_token", judged.token_indices),
    ):
        counts[key] += torch.bincount(tokens.flatten(), minlength=len(counts[key]))
    judged_mse = errors.mse_by_clip_and_step(judged.predicted_BTCHW, true)
    other_mse = errors.mse_by_clip_and_step(other.predicted_BTCHW, true)
    copied = copy_last(frames, context, settings.generation_steps, settings.prediction_horizon)
    found = {
        "rollout_mse": judged_mse,
        "strict_mse": other_mse if forced else judged_mse,
        "teacher_forced_mse": judged_mse if forced else other_mse,
        "random_action_mse": errors.mse_by_clip_and_step(random.predicted_BTCHW, true),
        "copy_last_mse": errors.mse_by_clip_and_step(copied, true),
        "mean_frame_mse": errors.mean_frame_error(true, clips.mean_frame_CHW.to(frames.device)),
        "tokenizer_recon_mse": recon_mse,
        "latent_actions": judged.action_indices,
    }
    ssim = errors.ssim_by_clip_and_step(judged.predicted_BTCHW, true)
    tables = found if ssim is None else found | {"rollout_ssim": ssim}
    return _MeasuredBatch(tables, shown, judged.non_finite_BTCHW, codes_of_steps(models, actions))


def codes_of_steps(models: WorldModels, actions: Sequence[Tensor]) -> np.ndarray:
    """Return the codes ``[B, G, N]`` of the actions of each step, int16; shorter steps end in ``NO_CODE``."""
    codes = [models.latent_actions.action_indices(one).cpu().numpy() for one in actions]
    table = np.full((len(codes[0]), len(codes), max(one.shape[1] for one in codes)), NO_CODE, np.int16)
    for step, one in enumerate(codes):
        table[:, step, : one.shape[1]] = one
    return table


def as_bytes(frames_BSCHW: Tensor) -> np.ndarray:
    """Convert frames to uint8 [B, S, H, W, C]; non-finite values become black (``non_finite`` counts them)."""
    unit = errors.unit_range(frames_BSCHW).nan_to_num(0.0)
    table: np.ndarray = (unit * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).cpu().numpy()
    return table
