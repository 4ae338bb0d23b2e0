"""Select the clips to measure: held-out clips or a fixed evaluation set, the same for every attempt and model.

Axes: B clips, T = context + S frames, S generated frames, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.reference.data.clips import gather_clips, to_model_range
from tinyworlds_gate.reference.data.datasets import dataset_path, dataset_stride
from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set, unseen_part
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.split import clip_digest, held_out_clips, mean_frame_indices, split_episodes
from tinyworlds_gate.reference.rollout.world_models import TrainedModels, TrainedTokenizer


@dataclass(frozen=True)
class ClipSet:
    """Clips to measure: frames in [-1, 1] ``[B, T, C, H, W]`` on the CPU, and their origin."""

    frames_BTCHW: Tensor
    starts: np.ndarray
    episodes: np.ndarray
    context: int
    digest: str
    mean_frame_CHW: Tensor
    data_path: Path
    data_sha256: str
    stride: int

    def origin(self) -> dict[str, Any]:
        """Return the origin of the clips as plain data, for the raw measures."""
        return {
            "clip_digest": self.digest,
            "data_path": str(self.data_path),
            "data_sha256": self.data_sha256,
            "stride": self.stride,
            "frame_size": int(self.frames_BTCHW.shape[-1]),
            "context": self.context,
        }


def draw_held_out(config: InferenceConfig, project_root: Path, trained: TrainedModels) -> ClipSet:
    """Return the clips that the config selects: held-out clips, or those of its evaluation set.

    Raises:
        DataError: the frames file is missing or damaged, or has too few held-out clips.
        TrainingError: a checkpoint was trained on these clips, or the models were trained on shorter clips.
    """
    sizes = trained.sizes["dynamics"]
    path = Path(config.data_path) if config.data_path else dataset_path(project_root, config.dataset, sizes.frame_size)
    data = load_frames(path, frame_size=sizes.frame_size, stride=dataset_stride(path, config.dataset, config.fps))
    digest = sha256_of(path)
    _require_same_split(config, trained, digest)
    split = split_episodes(data.episode, config.held_out_fraction, config.split_seed)
    context = config.context_window or sizes.context_length - config.prediction_horizon
    seen = max(context, config.memory_window or context)
    if context < 1 or seen + config.prediction_horizon > sizes.context_length:
        raise TrainingError(
            f"{config.step_text(context)} need {seen + config.prediction_horizon} frames, but the models were trained "
            f"on {sizes.context_length}; lower one of them"
        )
    length = context + config.generation_steps * config.prediction_horizon
    if config.clip_draw == EVALUATION:
        return _evaluation_clips(config, project_root, trained, data, _mean_frame(data, split.train), context, length)
    drawn = held_out_clips(
        path,
        data.episode,
        split.held_out,
        length=length,
        count=config.clips,
        seed=config.clip_seed,
        draw=config.clip_draw,
    )
    drawn = _without(drawn, config.left_out_clips)
    # A file without training episodes uses the mean of its own frames, which is the stronger baseline.
    mean_frame = _mean_frame(data, split.train or split.held_out)
    return cut_clips(data, drawn, length, context=context, data_sha256=digest, mean_over=mean_frame)


def _evaluation_clips(
    config: InferenceConfig,
    project_root: Path,
    trained: TrainedModels,
    training: FramesData,
    mean_frame: Tensor,
    context: int,
    length: int,
) -> ClipSet:
    """Return the clips of the evaluation set at stride 1, without those in the training data.

    ``mean_frame`` is the mean of the training frames.

    Raises:
        DataError: the file is not a valid evaluation set for these models.
        TrainingError: a checkpoint was trained on this file.
    """
    path, size = project_root / str(config.evaluation_file), trained.sizes["dynamics"].frame_size
    evaluation, digest = open_evaluation_set(path, frame_size=size, length=length), sha256_of(path)
    for stage in recorded_splits(trained, digest):
        raise TrainingError(
            f"evaluation_file={config.evaluation_file}: {trained.references[stage].path.name} was trained on this "
            "file, but the verdict needs frames without training; set evaluation_file to another file"
        )
    starts = _without(unseen_part(evaluation, training, length=length).evaluation.starts, config.left_out_clips)
    data = load_frames(path, frame_size=size)
    return cut_clips(data, starts, length, context=context, data_sha256=digest, mean_over=mean_frame)


def _without(starts: np.ndarray, left_out: str) -> np.ndarray:
    return starts[~np.isin(starts, [int(one) for one in left_out.split(",") if one])]


def cut_clips(
    data: FramesData,
    starts: np.ndarray,
    length: int,
    *,
    context: int,
    data_sha256: str,
    mean_over: Sequence[int] | Tensor,
) -> ClipSet:
    """Return the clips of ``length`` frames at ``starts`` in the loaded frames.

    ``mean_over`` is the mean frame ``[C, H, W]``, or the episodes over which to compute it.
    """
    clips = gather_clips(data.frames, starts, length)
    return ClipSet(
        frames_BTCHW=to_model_range(torch.from_numpy(clips)),
        starts=starts,
        episodes=data.episode[starts],
        context=context,
        digest=clip_digest(clips, starts),
        mean_frame_CHW=mean_over if isinstance(mean_over, Tensor) else _mean_frame(data, mean_over),
        data_path=data.path,
        data_sha256=data_sha256,
        stride=data.stride,
    )


def recorded_splits(trained: TrainedModels | TrainedTokenizer, data_sha256: str) -> dict[str, Mapping[str, Any]]:
    """Return, by stage, the recorded config of each checkpoint whose manifest names this file as training data."""
    return {
        stage: trained.configs[stage]
        for stage, reference in trained.references.items()
        if (reference.manifest or {}).get("data_sha256") == data_sha256
    }


def _require_same_split(config: InferenceConfig, trained: TrainedModels, data_sha256: str) -> None:
    """Raise TrainingError when a checkpoint was trained on this file with another split of its episodes."""
    for stage, recorded in recorded_splits(trained, data_sha256).items():
        for key in ("held_out_fraction", "split_seed"):
            if key in recorded and recorded[key] != getattr(config, key):
                raise TrainingError(
                    f"{key}={getattr(config, key)} for inference, but {trained.references[stage].path.name} was "
                    f"trained on the same file with {key}={recorded[key]}, so training clips would be measured; "
                    f"set {key}={recorded[key]}"
                )


def _mean_frame(data: FramesData, episodes: Sequence[int]) -> Tensor:
    indices = mean_frame_indices(data.episode, episodes)
    sums_HWC = np.zeros(data.frames.shape[1:], np.int64)
    for chunk in np.array_split(indices, 8):
        sums_HWC += data.frames[chunk].sum(axis=0, dtype=np.int64)
    return torch.from_numpy(sums_HWC / (len(indices) * 127.5) - 1.0).float().permute(2, 0, 1)
