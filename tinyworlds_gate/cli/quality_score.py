"""Score checkpoints of dynamics for `bench quality`: rollouts of the clips that the run's own gate draws.

Axes: B clips, P context frames, S generated frames, H, W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tinyworlds_gate.bench.yardstick import plain_updates_per_s
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.cli.sweep_run import SweptRun
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.clip_plan import clips_of_draw, rollout_span, split_frames, training_frames
from tinyworlds_gate.gate.measures.baselines import baselines
from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.motion_and_sharpness import sharpness
from tinyworlds_gate.gate.measures.objects.measure import LEAST_SIGHTINGS
from tinyworlds_gate.horizon.measure import errors_by_step
from tinyworlds_gate.horizon.object_curves import ObjectScene
from tinyworlds_gate.names import ATTEMPTS, STAGES
from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.data.split import clip_digest
from tinyworlds_gate.reference.rollout.errors_by_step import in_batches
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, as_bytes, steps_on
from tinyworlds_gate.reference.rollout.rollout import rollout
from tinyworlds_gate.reference.rollout.world_models import load_trained
from tinyworlds_gate.reference.training.distributed import choose_device
from tinyworlds_gate.run.journal import last_event

if TYPE_CHECKING:
    from tinyworlds_gate.config.load import Settings


class QualityScore:
    """The clips, and the measures of any checkpoint on them."""

    def __init__(self, run: SweptRun, settings: Settings, device: str, *, clips: int | None, object_step: int) -> None:
        """Draw the clips of the run's attempts, or ``clips`` in the same way, and read them.

        Raises:
            GateError: the frames or the other two checkpoints are not those of the run.
        """
        if clips is not None:
            settings = replace(settings, inference=settings.inference.model_copy(update={"clips": clips}))
        self._device, self._inference = choose_device(device, 0), settings.inference
        torch.set_float32_matmul_precision("high" if settings.inference.tf32 else "highest")
        self._others = {stage: run.other_checkpoint(stage) for stage in STAGES if stage != "dynamics"}
        path, digest = run.frames()
        if not path.is_file() or sha256_of(path) != digest:
            raise ConfigError(
                f"{path} is not the file that run {run.name} used (SHA-256 {digest[:12]}…), so its held-out clips are "
                "not known; put that file back"
            )
        training = training_frames(settings, path, trained=True)
        stride = 1 if training is None else training.stride
        episode = read_episodes(path, stride=stride)
        drawn = clips_of_draw(settings, path, episode, split_frames(settings, episode).held_out, ATTEMPTS)
        provenance = (last_event(run.events, "dataset_ready") or {}).get("provenance") or {}
        left_out = (provenance.get("left_out") or {}).get(str(ATTEMPTS)) or []
        starts = np.setdiff1d(np.array(drawn.starts, np.int64), left_out)
        self._context, steps = rollout_span(settings)
        size = settings.training.frame_size
        read = read_clips(path, starts, self._context + steps, frame_size=size, stride=stride)
        self._frames, self._episodes, self._starts = read.frames, read.episode, starts
        self._true = read.frames[:, self._context :]
        last = np.repeat(read.frames[:, self._context - 1, None], steps, axis=1)
        self._last_B = errors_by_step(self._true, last).mean(axis=1)
        self._training, self._step = training, min(object_step, steps)
        verdict = last_event(run.events, "gate_verdict", draw=ATTEMPTS) or {}
        self._judged = (verdict.get("measures") or {}) if clips is None else {}

    def facts(self) -> dict[str, Any]:
        """Return what the checkpoints are scored on, for the result."""
        episodes = len(np.unique(self._episodes))
        return {
            "clips": {"count": len(self._true), "episodes": episodes, "steps": self._true.shape[1]},
            "object_step": self._step,
            "copy_last": {"mse": float(self._last_B.mean())},
            "device": str(self._device),
        }

    def of(self, checkpoint: Path) -> tuple[dict[str, float], np.ndarray]:
        """Return the errors of a checkpoint, and its generated frames, uint8 [B, S, H, W, 3].

        Raises:
            CheckpointError: it is damaged, or does not fit the other two.
        """
        generated = self._generated(checkpoint)
        error_B = errors_by_step(self._true, generated).mean(axis=1)
        low, high = ratio_interval(error_B, self._last_B, self._episodes)
        mse = float(error_B.mean())
        skills = {"skill": skill(mse, float(self._last_B.mean())), "skill_low": 1.0 - high, "skill_high": 1.0 - low}
        return {"mse": mse, **skills, "sharpness": sharpness(self._true, generated)}, generated

    def scene(self) -> ObjectScene:
        """Find the objects of the true frames."""
        return ObjectScene(self._frames[:, : self._context], self._true)

    def objects(self, scene: ObjectScene, generated: np.ndarray | None) -> dict[str, float | None]:
        """Return recall and precision at the step, of the last frame without ``generated``; None below 30 objects."""
        counted = scene.last_frame() if generated is None else scene.counted(generated)
        hits, seen, shown = (float(one[:, self._step - 1].sum()) for one in (counted.hits, counted.seen, counted.shown))
        if seen < LEAST_SIGHTINGS:
            return {"recall": None, "precision": None}
        return {"recall": hits / seen, "precision": hits / shown if shown else 0.0}

    def strongest(self) -> dict[str, Any]:
        """Return the strongest prediction without a model, as the run's gate found it on these clips, or computed."""
        if self._judged.get("clip_digest") == clip_digest(self._frames, self._starts):
            return {"name": self._judged["strongest_baseline"], "mse": self._judged["strongest_baseline_mse"]}
        known = baselines(self._frames[:, : self._context], self._true, self._episodes, self._training)
        return {"name": known.strongest, "mse": float(known.mse_BS[known.strongest].mean())}

    def _generated(self, checkpoint: Path) -> np.ndarray:
        """Return the strict rollouts with the actions inferred from the true frames, uint8 [B, S, H, W, 3]."""
        inference = self._inference
        models = load_trained({**self._others, "dynamics": checkpoint}).models.to(self._device).eval()
        settings = MeasureSettings(inference.generation_steps, token_choice=inference.token_choice)
        steps, parts = steps_on(models, settings, self._device), []
        for number, batch in enumerate(in_batches(len(self._true), inference.batch_size)):
            output = rollout(
                models,
                to_model_range(torch.from_numpy(self._frames[batch])).to(self._device),
                context=self._context,
                generation_steps=inference.generation_steps,
                prediction_horizon=inference.prediction_horizon,
                decode_steps=inference.decode_steps,
                temperature=inference.temperature,
                space=inference.rollout,
                memory=inference.memory_window,
                generator=torch.Generator(device=self._device).manual_seed(inference.seed + number),
                steps=steps,
            )
            parts.append(as_bytes(output.predicted_BTCHW))
        return np.concatenate(parts)


def plain_rates(settings: Settings, device: str) -> Mapping[str, float]:
    """Return the plain updates per second of each stage, on as many frames an update as it trains on: the yardstick."""
    where, found = choose_device(device, 0), dict[str, float]()
    for stage, one in settings.stages.items():
        frames = 1 if getattr(one, "frame_by_frame", False) else 2 if getattr(one, "frame_pairs", False) else None
        length = settings.training.context_length
        batch = max(1, one.batch_size_per_gpu * (frames or length) // length)
        updates = 10 if where.type == "cuda" else 2
        found[stage] = plain_updates_per_s(stage, settings, where, batch=batch, updates=updates, rounds=3)
    return found


def skill(mse: float, reference_mse: float) -> float:
    """Return 1 - error / error of the reference; NaN where that is 0."""
    return 1.0 - mse / reference_mse if reference_mse > 0 else math.nan
