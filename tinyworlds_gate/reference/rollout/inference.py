"""Inference run: roll out three checkpoints on held-out clips; write a log, raw measures, frames and a picture."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.config.stage_config import load_inference_config
from tinyworlds_gate.errors import GateError, TrainingError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.rollout.clip_set import draw_held_out
from tinyworlds_gate.reference.rollout.generated_frames import write_generated
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, measure_clips
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.reference.rollout.picture import save_rollout_picture
from tinyworlds_gate.reference.rollout.world_models import load_trained
from tinyworlds_gate.reference.training.distributed import choose_device
from tinyworlds_gate.run.atomic import atomic_write

EXIT_INFERENCE_ERROR = 3


def run_inference(config: InferenceConfig, project_root: Path, run_root: str | None) -> None:
    """Load three checkpoints, roll them out on the configured clips, and write the results.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
        DataError: the frames file is missing or damaged, or has too few held-out clips.
        TrainingError: a checkpoint was trained on the clips, or a checkpoint path is not set.
    """
    began = time.monotonic()
    torch.manual_seed(config.seed)
    paths = _checkpoint_paths(config, run_root)
    trained = load_trained(paths)
    for stage in STAGES:
        print(f"Using {stage} checkpoint: {trained.references[stage].path}", flush=True)
    device = choose_device(config.device, 0)
    held_out = draw_held_out(config, project_root, trained)
    print(
        f"[Data] {held_out.data_path.name}: {len(held_out.starts)} held-out clips of {len(set(held_out.episodes))} "
        f"episodes, digest {held_out.digest[:16]}, device {device}",
        flush=True,
    )
    # TF32 uses the tensor cores: products are rounded to TF32, sums stay float32.
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    measured = measure_clips(
        trained.models.to(device).eval(),
        held_out,
        MeasureSettings(
            generation_steps=config.generation_steps,
            prediction_horizon=config.prediction_horizon,
            decode_steps=config.decode_steps,
            temperature=config.temperature,
            teacher_forced=config.teacher_forced,
            space=config.rollout,
            memory=config.memory_window,
            token_choice=config.token_choice,
            batch_size=config.batch_size,
            seed=config.seed,
        ),
        device,
        lambda step, batch, batches: print(
            f"Inferring frame {step + 1}/{config.generation_steps} (batch {batch}/{batches})", flush=True
        ),
    )
    measures = measured.raw | {
        "clip_seed": config.clip_seed,
        "clip_draw": config.clip_draw,
        "checkpoints": {stage: reference.model_sha256 for stage, reference in trained.references.items()},
    }
    per_clip = np.array([np.mean(clip["rollout_mse"]) for clip in measures["clips"]])
    median = int(np.argsort(per_clip, kind="stable")[len(per_clip) // 2])
    picture = save_rollout_picture(
        project_root / "inference_results",
        held_out.frames_BTCHW[median],
        measured.generated.predicted[median],
        held_out.context,
        measures,
        median,
    )
    print(f"Visualization saved to: {picture.relative_to(project_root)}", flush=True)
    measures |= {"seconds": time.monotonic() - began, "picture": str(picture.relative_to(project_root))}
    if config.measures_path:
        path = Path(config.measures_path)
        frames = path.with_name(f"{path.stem}_frames.h5")
        write_generated(frames, measured.generated)
        _write_measures(path, measures | {"generated_frames": frames.name})
    _print_stats(measures)


def _checkpoint_paths(config: InferenceConfig, run_root: str | None) -> dict[str, Path]:
    given = {
        "video_tokenizer": config.video_tokenizer_path,
        "latent_actions": config.latent_actions_path,
        "dynamics": config.dynamics_path,
    }
    paths: dict[str, Path] = {}
    for stage, value in given.items():
        if value:
            paths[stage] = resolve_checkpoint(Path(value), stage, require_optimizer=False).path
        elif config.use_latest_checkpoints and run_root:
            paths[stage] = resolve_checkpoint(
                Path(run_root) / stage / "checkpoints", stage, require_optimizer=False
            ).path
        else:
            raise TrainingError(
                f"{stage}_path is not set; set {stage}_path=<…_step_n folder>, or use_latest_checkpoints=true together "
                "with NG_RUN_ROOT_DIR=<results/run> (the newest valid checkpoint of that run; other runs are never "
                "searched)"
            )
    return paths


def _write_measures(path: Path, measures: dict[str, Any]) -> None:
    atomic_write(path, json.dumps(measures, indent=1, allow_nan=True) + "\n")


def _print_stats(measures: dict[str, Any]) -> None:
    def mean(key: str) -> float:
        return float(np.mean([clip[key] for clip in measures["clips"]]))

    steps = np.array([clip["rollout_mse"] for clip in measures["clips"]]).mean(axis=0)
    print("\nInference stats:")
    print(f"Total frames generated: {len(measures['clips']) * len(steps)}")
    print(f"Mode: {mode_text(measures)}, actions inferred from the true frames")
    print(f"Mean Squared Error (GT vs Pred): {mean('rollout_mse'):.8f}")
    print("Mean Squared Error by step: " + " ".join(f"{value:.6f}" for value in steps))
    print(f"Copy-last MSE: {mean('copy_last_mse'):.8f}")
    print(f"Mean-frame MSE: {mean('mean_frame_mse'):.8f}")
    print(f"Random-action MSE: {mean('random_action_mse'):.8f}")
    print(f"Tokenizer reconstruction MSE: {mean('tokenizer_recon_mse'):.8f}")
    print(f"Skill against copy-last: {1 - mean('rollout_mse') / max(mean('copy_last_mse'), 1e-12):.4f}")
    print(f"Context window (non-generated frames): {measures['context']}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and run inference; exit with 0, or with 3 and one error line for a GateError."""
    parser = argparse.ArgumentParser(prog="run_inference.py", description="Roll trained models out on held-out clips.")
    parser.add_argument("--config", type=Path, default=Path("configs/inference.yaml"), help="the inference YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file (after --)")
    args = parser.parse_args(argv)
    try:
        config = load_inference_config(args.config, args.overrides)
        run_inference(config, Path.cwd(), os.environ.get("NG_RUN_ROOT_DIR"))
    except GateError as error:
        print(f"[inference] error: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_INFERENCE_ERROR)
