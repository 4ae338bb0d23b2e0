"""Batches of training clips: random clips of the training episodes, as frames in [-1, 1] on the worker's device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.reference.data.clips import ClipSampler, clip_starts, gather_clips
from tinyworlds_gate.reference.data.convert import to_model_range
from tinyworlds_gate.reference.data.datasets import dataset_path, dataset_stride
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.job import StageJob


class BatchSource:
    """Draws clips of ``context_length`` frames from the training episodes only."""

    def __init__(self, job: StageJob, worker: Worker, project_root: Path) -> None:
        training = job.training
        path = (
            Path(training.data_path)
            if training.data_path
            else dataset_path(project_root, training.dataset, training.frame_size)
        )
        self.data = load_frames(
            path, frame_size=training.frame_size, stride=dataset_stride(path, training.dataset, training.fps)
        )
        self.data_digest = sha256_of(path)
        split = split_episodes(self.data.episode, training.held_out_fraction, training.split_seed)
        self.length = training.context_length
        self.starts = clip_starts(self.data, self.length, split.train)
        self.sampler = ClipSampler(
            self.starts,
            batch_size=job.stage.batch_size_per_gpu,
            world_size=worker.world_size,
            rank=worker.rank,
            seed=training.seed,
        )
        self.device = worker.device
        # On a GPU all frames live there as bytes, so that a batch is one gather without a copy from the host.
        self._frames_on_gpu = torch.from_numpy(self.data.frames).to(self.device) if self.device.type == "cuda" else None

    def draw(self) -> np.ndarray:
        """Where the next clips start: int64 ``[B]``."""
        return self.sampler.next()

    def next(self) -> Tensor:
        """The next batch, ``[B, T, C, H, W]`` in [-1, 1]."""
        return self.clips(torch.from_numpy(self.draw()).to(self.device))

    def fixed_examples(self, count: int) -> Tensor:
        """The same few clips every time, spread over the training episodes, for pictures."""
        picks = np.linspace(0, len(self.starts) - 1, count).round().astype(np.int64)
        return self.clips(torch.from_numpy(self.starts[picks]).to(self.device))

    def clips(self, starts: Tensor) -> Tensor:
        """The clips that start there (int64 ``[B]`` on the worker's device), as frames in [-1, 1]."""
        if self._frames_on_gpu is not None:
            index = starts[:, None] + torch.arange(self.length, device=self.device)
            return to_model_range(self._frames_on_gpu[index])
        return to_model_range(torch.from_numpy(gather_clips(self.data.frames, starts.numpy(), self.length)))
