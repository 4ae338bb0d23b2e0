"""Batches of random clips from the training episodes, as frames in [-1, 1] or tokens on the worker's device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.reference.data.clips import (
    ClipSampler,
    clip_starts,
    gather_clips,
    starts_in_episodes,
    to_model_range,
)
from tinyworlds_gate.reference.data.datasets import dataset_path, dataset_stride
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.split import draw_clips, split_episodes
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.job import StageJob
from tinyworlds_gate.reference.training.token_clips import TokenClips, TokenTable, tokenize_all

MOST_OF_FREE_MEMORY = 0.5


class BatchSource:
    """Draws clips of ``clip_frames`` frames (None: ``context_length``) from the training episodes."""

    def __init__(self, job: StageJob, worker: Worker, project_root: Path, *, clip_frames: int | None = None) -> None:
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
        self.length = clip_frames or training.context_length
        self.starts = clip_starts(self.data, self.length, split.train)
        self._held_out_starts = starts_in_episodes(self.data.episode, self.length, split.held_out)
        self.sampler = ClipSampler(
            self.starts,
            batch_size=job.stage.batch_size_per_gpu,
            world_size=worker.world_size,
            rank=worker.rank,
            seed=training.seed,
        )
        self.batch_size = job.stage.batch_size_per_gpu
        self.worker, self.device = worker, worker.device
        self._with_frames = False
        self.frames_on_device: Tensor | None = None
        """All frames as uint8 on the GPU, so that a batch is one gather; None on a CPU or when they do not fit."""
        if self.device.type == "cuda" and frames_fit(self.data.frames.nbytes, torch.cuda.mem_get_info(self.device)[0]):
            self.frames_on_device = torch.from_numpy(self.data.frames).to(self.device)

        self.tokens: TokenTable | None = None
        """Tokens of all frames, set by `use_tokens`."""

    def use_tokens(
        self, tokenizer: VideoTokenizer, latent_actions: LatentActionModel, *, autocast: bool, with_frames: bool
    ) -> None:
        """Tokenise all frames now; from then on batches are tokens, with or without their frames."""
        frames = self.frames_on_device if self.frames_on_device is not None else torch.from_numpy(self.data.frames)
        self.tokens = tokenize_all(tokenizer, latent_actions, frames, self.worker, autocast=autocast)
        self._with_frames = with_frames

    @property
    def sends_starts(self) -> bool:
        """Whether batches are gathered on the device, so that only the clips' starts are sent there."""
        return self.frames_on_device is not None or (self.tokens is not None and not self._with_frames)

    def draw(self) -> np.ndarray:
        """Draw the next clips and return their first frames, int64 ``[B]``."""
        return self.sampler.next()

    def next(self) -> Tensor:
        """Draw the next clips and return their frames; see `clips`."""
        return self.clips(torch.from_numpy(self.draw()).to(self.device))

    def next_batch(self) -> Tensor | TokenClips:
        """Draw the next clips and return them as `batch` does."""
        return self.batch(torch.from_numpy(self.draw()).to(self.device))

    def fixed_examples(self, count: int) -> Tensor:
        """Return the same ``count`` clips at every call, spread over the training episodes, for pictures."""
        picks = np.linspace(0, len(self.starts) - 1, count).round().astype(np.int64)
        return self.clips(torch.from_numpy(self.starts[picks]).to(self.device))

    def held_out_examples(self, count: int) -> Tensor:
        """Return the starts of up to ``count`` clips, spread over the held-out episodes; the same at every call.

        int64 ``[B]`` on the device, empty when the held-out episodes are shorter than a clip.
        """
        starts = self._held_out_starts
        drawn = draw_clips(starts, self.data.episode[starts], min(count, len(starts)), seed=0)
        return torch.from_numpy(drawn).to(self.device)

    def batch(self, starts: Tensor) -> Tensor | TokenClips:
        """Return the clips at ``starts`` (int64 ``[B]`` on the device): frames ``[B, T, C, H, W]``, or tokens."""
        if self.tokens is None:
            return self.clips(starts)
        return self.tokens.clips(starts, self.length, self.clips(starts) if self._with_frames else None)

    def clips(self, starts: Tensor) -> Tensor:
        """Return the clips at ``starts`` (int64 ``[B]`` on the device) as frames in [-1, 1] ``[B, T, C, H, W]``."""
        if self.frames_on_device is not None:
            index = starts[:, None] + torch.arange(self.length, device=self.device)
            return to_model_range(self.frames_on_device[index])
        return to_model_range(self.bytes_of(starts.cpu().numpy()).to(self.device))

    def bytes_of(self, starts: np.ndarray) -> Tensor:
        """Return the clips at ``starts`` (``[B]``) as stored: uint8 ``[B, T, H, W, C]`` in host memory."""
        return torch.from_numpy(gather_clips(self.data.frames, starts, self.length))


def frames_fit(frames_bytes: int, free_bytes: int) -> bool:
    """Whether all frames fit into half of the free GPU memory."""
    return frames_bytes <= MOST_OF_FREE_MEMORY * free_bytes
