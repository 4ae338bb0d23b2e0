"""Clips: windows of frames inside one episode, and a random sampler whose position can be saved and restored.

Axes: B clips, T frames of a clip, H height, W width, C colours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import FramesData, run_starts

if TYPE_CHECKING:
    import torch

_CLIPS_AT_ONCE = 256


def clip_starts(data: FramesData, length: int, which_episodes: Iterable[int]) -> np.ndarray:
    """Return the first frames of all clips of ``length`` frames in the given episodes, int64 [K], ascending.

    A clip lies in one contiguous run of one episode. Raises ``DataError`` when no clip fits.
    """
    chosen = np.fromiter(which_episodes, np.int64)
    starts = starts_in_episodes(data.episode, length, chosen)
    if len(starts) == 0:
        bounds = np.append(run_starts(data.episode), len(data.episode))
        longest = int(np.diff(bounds)[np.isin(data.episode[bounds[:-1]], chosen)].max(initial=0))
        raise DataError(
            f"{data.path}: no clip of {length} frames fits: the longest chosen episode has {longest} frames; "
            "fix: lower context_length (or generation_steps), or make data with longer episodes (`--episode-length`)"
        )
    return starts


def starts_in_episodes(episode: np.ndarray, length: int, which_episodes: Iterable[int]) -> np.ndarray:
    """Like ``clip_starts``, from the episode of each frame [N]; empty when no clip fits."""
    if length < 1:
        raise DataError(f"a clip of {length} frames is not allowed; at least 1 is needed")
    bounds = np.append(run_starts(episode), len(episode))
    frames_left = np.repeat(bounds[1:], np.diff(bounds)) - np.arange(len(episode))
    chosen = np.isin(episode, np.fromiter(which_episodes, np.int64))
    return np.flatnonzero(chosen & (frames_left >= length)).astype(np.int64)


def gather_clips(frames: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Cut clips out of ``frames`` uint8 [N, H, W, C] at ``starts`` [B]: uint8 [B, T, H, W, C], in one indexing step."""
    return frames[np.asarray(starts)[:, None] + np.arange(length)]


class SamplerState(TypedDict):
    """State of a `ClipSampler` as plain data for a checkpoint."""

    seed: int
    position: int
    starts_sha256: str


class ClipSampler:
    """Draws random clips for one of ``world_size`` ranks; its only state is a counter.

    Draw k depends on (seed, k) only: all ranks share one draw of ``batch_size * world_size`` different clips and each
    takes its part. With fewer clips than that, all of them are drawn as often as needed. A sampler resumed at position
    k draws the same clips as an uninterrupted run.
    """

    def __init__(self, starts: np.ndarray, batch_size: int, world_size: int = 1, rank: int = 0, seed: int = 0) -> None:
        """``starts`` [K] are the result of ``clip_starts``; ``batch_size`` is the number of clips of one rank."""
        if batch_size < 1:
            raise DataError(f"batch_size_per_gpu: {batch_size} is not allowed; at least 1 is needed")
        if not 0 <= rank < world_size:
            raise DataError(f"rank {rank} of {world_size} is not allowed; ranks run from 0 to {world_size - 1}")
        if len(starts) == 0:
            raise DataError("there is no clip to draw from; fix: use more frames or shorter clips")
        self._starts = np.asarray(starts, np.int64)
        self._batch_size = batch_size
        self._world_size = world_size
        self._rank = rank
        self._seed = seed
        self._position = 0

    @property
    def position(self) -> int:
        """Number of draws made."""
        return self._position

    def next(self) -> np.ndarray:
        """Return the next draw of this rank: starts int64 [batch_size]."""
        key = np.array([self._seed, self._position], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        total = self._batch_size * self._world_size
        whole_rounds, rest = divmod(total, len(self._starts))
        drawn = [rng.permutation(len(self._starts)) for _ in range(whole_rounds)]
        drawn.append(rng.choice(len(self._starts), size=rest, replace=False))
        self._position += 1
        return self._starts[np.concatenate(drawn)[self._rank :: self._world_size]]

    def state_dict(self) -> SamplerState:
        """Return the position, with the seed and a digest of the clips that it refers to."""
        digest = hashlib.sha256(self._starts.tobytes()).hexdigest()
        return SamplerState(seed=self._seed, position=self._position, starts_sha256=digest)

    def load_state_dict(self, state: SamplerState) -> None:
        """Continue at a saved position. Batch size and ranks may differ.

        Raises ``DataError`` when seed or clips differ: other clips could include frames that were held out before.
        """
        now = self.state_dict()
        if state["seed"] != now["seed"]:
            raise DataError(
                f"the checkpoint drew its clips with seed {state['seed']}, this run uses {now['seed']}; "
                f"fix: continue with seed {state['seed']}, or start fresh"
            )
        if state["starts_sha256"] != now["starts_sha256"]:
            raise DataError(
                f"the training clips are not those of the checkpoint ({len(self._starts)} clips now): the data file, "
                "its split or the clip length changed; fix: restore them, or start fresh"
            )
        self._position = state["position"]


def copy_last_mse_by_step(data: FramesData, starts: np.ndarray, context: int, steps: int) -> list[float]:
    """Return the MSE of repeating the last context frame, for 1 … ``steps`` frames ahead, frames in [0, 1].

    Averaged over all clips at ``starts`` [K], pixels and colours; each clip must have ``context + steps`` frames.
    """
    if len(starts) == 0:
        raise DataError(f"{data.path}: there is no clip to measure; fix: use more frames or fewer steps")
    last = np.asarray(starts) + context - 1
    return [_mse_between(data.frames, last, last + step) for step in range(1, steps + 1)]


def _mse_between(frames: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    total = 0
    for low in range(0, len(first), _CLIPS_AT_ONCE):
        part = np.s_[low : low + _CLIPS_AT_ONCE]
        difference = frames[first[part]].astype(np.int32) - frames[second[part]]
        total += int(np.square(difference, out=difference).sum(dtype=np.int64))
    return total / (255.0**2 * len(first) * int(np.prod(frames.shape[1:])))


def to_model_range(frames_BTHWC: torch.Tensor) -> torch.Tensor:
    """Map uint8 [B, T, H, W, C] to contiguous float32 [B, T, C, H, W] in [-1, 1]: x / 127.5 - 1."""
    import torch

    if frames_BTHWC.dtype != torch.uint8 or frames_BTHWC.ndim != 5:
        raise ValueError(f"uint8 [B, T, H, W, C] is needed, got {frames_BTHWC.dtype} {list(frames_BTHWC.shape)}")
    return frames_BTHWC.permute(0, 1, 4, 2, 3).to(torch.float32).contiguous().div_(127.5).sub_(1.0)
