"""Roll three checkpoints out on held-out clips and write down every clip's errors.

Legend: B clips, T = context + S frames, S generated frames, C channels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.data.clip_draw import clip_digest, draw_clips
from tinyworlds_gate.reference.data.clips import clip_starts, gather_clips
from tinyworlds_gate.reference.data.convert import to_model_range
from tinyworlds_gate.reference.data.datasets import dataset_path, dataset_stride
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.reference.rollout import errors_by_step as errors
from tinyworlds_gate.reference.rollout.picture import save_rollout_picture
from tinyworlds_gate.reference.rollout.rollout import copy_last, rollout, tokenizer_reconstruction
from tinyworlds_gate.reference.rollout.trained import TrainedModels, load_trained
from tinyworlds_gate.reference.rollout.world_models import WorldModels
from tinyworlds_gate.reference.training.distributed import choose_device

MEASURES_SCHEMA = 1


@dataclass(frozen=True)
class HeldOut:
    """The drawn clips: frames in [-1, 1] ``[B, T, C, H, W]`` on the CPU, and where they come from."""

    frames_BTCHW: Tensor
    starts: np.ndarray
    episodes: np.ndarray
    context: int
    digest: str
    mean_frame_CHW: Tensor
    data_path: Path
    data_sha256: str


def run_inference(config: InferenceConfig, project_root: Path, run_root: str | None) -> None:
    """The whole inference run, as the process `run_inference.py` does it.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
        DataError: the frames file has too few held-out clips.
        TrainingError: the checkpoints were trained on the clips that would be measured.
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
    measures, predicted = _measure(config, trained.models.to(device).eval(), held_out, device)
    per_clip = np.array([np.mean(clip["rollout_mse"]) for clip in measures["clips"]])
    median = int(np.argsort(per_clip, kind="stable")[len(per_clip) // 2])
    picture = save_rollout_picture(
        project_root / "inference_results",
        held_out.frames_BTCHW[median],
        predicted[median],
        held_out.context,
        measures,
        median,
    )
    print(f"Visualization saved to: {picture.relative_to(project_root)}", flush=True)
    measures |= {"seconds": time.monotonic() - began, "picture": str(picture.relative_to(project_root))}
    if config.measures_path:
        _write_measures(Path(config.measures_path), measures)
    _print_stats(measures, config)


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
                f"{stage}_path is not set; give {stage}_path=<…_step_n folder>, or use_latest_checkpoints=true "
                "together with NG_RUN_ROOT_DIR=<results/run> (the newest valid one of that run; other runs are never "
                "searched)"
            )
    return paths


def draw_held_out(config: InferenceConfig, project_root: Path, trained: TrainedModels) -> HeldOut:
    """The held-out clips of this config, refused when a checkpoint says that it was trained on them."""
    sizes = trained.sizes["dynamics"]
    path = Path(config.data_path) if config.data_path else dataset_path(project_root, config.dataset, sizes.frame_size)
    data = load_frames(path, frame_size=sizes.frame_size, stride=dataset_stride(path, config.dataset, config.fps))
    digest = sha256_of(path)
    _require_same_split(config, trained, digest)
    split = split_episodes(data.episode, config.held_out_fraction, config.split_seed)
    context = config.context_window or sizes.context_length - config.prediction_horizon
    if context < 1 or context + config.prediction_horizon > sizes.context_length:
        raise TrainingError(
            f"context_window={context} and prediction_horizon={config.prediction_horizon} need "
            f"{context + config.prediction_horizon} frames, but the models were trained on {sizes.context_length}; "
            "lower one of them"
        )
    length = context + config.generation_steps * config.prediction_horizon
    starts = clip_starts(data, length, split.held_out)
    drawn = draw_clips(starts, data.episode[starts], config.clips, config.clip_seed)
    clips = gather_clips(data.frames, drawn, length)
    return HeldOut(
        frames_BTCHW=to_model_range(torch.from_numpy(clips)),
        starts=drawn,
        episodes=data.episode[drawn],
        context=context,
        digest=clip_digest(clips, drawn),
        mean_frame_CHW=_mean_training_frame(data, split.train),
        data_path=path,
        data_sha256=digest,
    )


def _require_same_split(config: InferenceConfig, trained: TrainedModels, data_sha256: str) -> None:
    """A checkpoint of ours records its data and split; with another split held-out clips would be training clips."""
    for stage, reference in trained.references.items():
        manifest, recorded = reference.manifest or {}, trained.configs[stage]
        if manifest.get("data_sha256") != data_sha256:
            continue
        for key in ("held_out_fraction", "split_seed"):
            if key in recorded and recorded[key] != getattr(config, key):
                raise TrainingError(
                    f"{key}={getattr(config, key)} for inference, but {reference.path.name} was trained on the same "
                    f"file with {key}={recorded[key]}: clips it has trained on would be measured; "
                    f"set {key}={recorded[key]}"
                )


def _mean_training_frame(data: FramesData, episodes: Sequence[int]) -> Tensor:
    indices = np.flatnonzero(np.isin(data.episode, episodes))
    indices = indices[:: max(1, len(indices) // 2000)]
    mean_HWC = np.stack([data.frames[chunk].mean(axis=0) for chunk in np.array_split(indices, 8) if len(chunk)]).mean(
        axis=0
    )
    return torch.from_numpy(mean_HWC / 127.5 - 1.0).float().permute(2, 0, 1)


@torch.no_grad()
def _measure(
    config: InferenceConfig, models: WorldModels, held_out: HeldOut, device: torch.device
) -> tuple[dict[str, Any], Tensor]:
    """Every clip's errors by step, and the predicted frames ``[B, S, C, H, W]``."""
    context, steps = held_out.context, config.generation_steps * config.prediction_horizon
    results: dict[str, list[Tensor]] = {key: [] for key in ("rollout", "random", "copy", "mean", "recon")}
    actions: list[Tensor] = []
    predictions: list[Tensor] = []
    batches = errors.in_batches(len(held_out.starts), config.batch_size)
    for number, batch in enumerate(batches):
        frames = held_out.frames_BTCHW[batch].to(device)
        true = frames[:, context : context + steps]

        def announce(step: int, number: int = number) -> None:
            print(
                f"Inferring frame {step + 1}/{config.generation_steps} (batch {number + 1}/{len(batches)})", flush=True
            )

        shared: dict[str, Any] = {
            "context": context,
            "generation_steps": config.generation_steps,
            "prediction_horizon": config.prediction_horizon,
            "decode_steps": config.decode_steps,
            "temperature": config.temperature,
            "teacher_forced": config.teacher_forced,
        }
        generator = torch.Generator(device=device).manual_seed(config.seed + number)
        output = rollout(models, frames, actions="inferred", generator=generator, on_step=announce, **shared)
        random = rollout(models, frames, actions="random", generator=generator, **shared)
        results["rollout"].append(errors.mse_by_clip_and_step(output.predicted_BTCHW, true))
        results["random"].append(errors.mse_by_clip_and_step(random.predicted_BTCHW, true))
        results["copy"].append(errors.mse_by_clip_and_step(copy_last(frames, context, steps), true))
        results["mean"].append(errors.mean_frame_error(true, held_out.mean_frame_CHW.to(device)))
        reconstructed = tokenizer_reconstruction(models.tokenizer, frames[:, : context + 1])
        results["recon"].append(errors.mse_by_clip_and_step(reconstructed, frames[:, : context + 1]).mean(dim=1))
        actions.append(output.action_indices.cpu())
        predictions.append(output.predicted_BTCHW.cpu())
    tables = {key: torch.cat(value).cpu().tolist() for key, value in results.items()}
    codes = errors.codes_of(actions)
    clips = [
        {
            "start": int(held_out.starts[index]),
            "episode": int(held_out.episodes[index]),
            "rollout_mse": tables["rollout"][index],
            "random_action_mse": tables["random"][index],
            "copy_last_mse": tables["copy"][index],
            "mean_frame_mse": tables["mean"][index],
            "tokenizer_recon_mse": tables["recon"][index],
            "latent_actions": codes[index],
        }
        for index in range(len(held_out.starts))
    ]
    measures = {
        "schema": MEASURES_SCHEMA,
        "clips": clips,
        "clip_digest": held_out.digest,
        "clip_seed": config.clip_seed,
        "data_path": str(held_out.data_path),
        "data_sha256": held_out.data_sha256,
        "context": context,
        "generation_steps": steps,
        "decode_steps": config.decode_steps,
        "temperature": config.temperature,
        "teacher_forced": config.teacher_forced,
        "n_actions": models.latent_actions.sizes.n_actions,
        "seed": config.seed,
    }
    return measures, torch.cat(predictions)


def _write_measures(path: Path, measures: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(measures, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def _print_stats(measures: dict[str, Any], config: InferenceConfig) -> None:
    def mean(key: str) -> float:
        return float(np.mean([clip[key] for clip in measures["clips"]]))

    steps = np.array([clip["rollout_mse"] for clip in measures["clips"]]).mean(axis=0)
    print("\nInference stats:")
    print(f"Total frames generated: {len(measures['clips']) * len(steps)}")
    mode = "teacher-forced" if config.teacher_forced else "strict autoregressive"
    print(f"Mode: {mode}, actions inferred from the true frames")
    print(f"Mean Squared Error (GT vs Pred): {mean('rollout_mse'):.8f}")
    print("Mean Squared Error by step: " + " ".join(f"{value:.6f}" for value in steps))
    print(f"Copy-last MSE: {mean('copy_last_mse'):.8f}")
    print(f"Mean-frame MSE: {mean('mean_frame_mse'):.8f}")
    print(f"Random-action MSE: {mean('random_action_mse'):.8f}")
    print(f"Tokenizer reconstruction MSE: {mean('tokenizer_recon_mse'):.8f}")
    print(f"Skill against copy-last: {1 - mean('rollout_mse') / max(mean('copy_last_mse'), 1e-12):.4f}")
    print(f"Context window (non-generated frames): {measures['context']}", flush=True)
