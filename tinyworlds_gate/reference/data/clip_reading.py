"""Reads single clips out of a frames file, with what the file knows of each frame, without loading the rest.

Axes: B clips, T frames of a clip, H height, W width, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import (
    checked_frames,
    episode_of_frames,
    kept_indices,
    opened_frames,
    pseudo_episodes,
    remedy,
    resize_frames,
)


@dataclass(frozen=True)
class ReadClips:
    """Clips with their frames uint8 [B, T, H, W, C]; ``actions`` [B, T] and ``player_position`` [B, T, 2] or None."""

    frames: np.ndarray
    episode: np.ndarray
    actions: np.ndarray | None
    player_position: np.ndarray | None


def read_clips(path: Path, starts: np.ndarray, length: int, *, frame_size: int, stride: int = 1) -> ReadClips:
    """Read ``length`` frames from each of ``starts`` [B], as ``load_frames`` and ``gather_clips`` would give them.

    Raises ``DataError`` when the file is missing or damaged, or a clip does not lie in one episode of it.
    """
    fix = remedy(path)
    with opened_frames(path, fix) as file:
        info = checked_frames(file, path, fix)
        true_episode = episode_of_frames(file)
        keep = kept_indices(info.num_frames, stride, true_episode)
        episode = pseudo_episodes(len(keep)) if true_episode is None else true_episode[keep]
        require_whole_clips(path, episode, starts, length)
        index = np.asarray(starts)[:, None] + np.arange(length)
        frames = np.stack([_read(file["frames"], keep[one]) for one in index])
        actions = file["actions"][:][keep][index] if "actions" in file and stride == 1 else None
        position = file["player_position"][:][keep][index] if "player_position" in file else None
    if frames.shape[2] != frame_size:
        flat = resize_frames(frames.reshape(-1, *frames.shape[2:]), frame_size)
        frames = flat.reshape(len(index), length, *flat.shape[1:])
    return ReadClips(frames, episode[index[:, 0]], actions, position)


def read_episodes(path: Path, *, stride: int = 1) -> np.ndarray:
    """The episode int64 [N] of each frame, as ``load_frames`` would give it, without loading the frames.

    Raises ``DataError`` when the file is missing or damaged.
    """
    fix = remedy(path)
    with opened_frames(path, fix) as file:
        info = checked_frames(file, path, fix)
        true_episode = episode_of_frames(file)
        keep = kept_indices(info.num_frames, stride, true_episode)
        return pseudo_episodes(len(keep)) if true_episode is None else true_episode[keep]


def require_whole_clips(path: Path, episode: np.ndarray, starts: np.ndarray, length: int) -> None:
    """Raise ``DataError`` unless every clip lies in the file and in one episode, and there is at least one clip."""
    if not len(starts):
        raise DataError(f"{path}: no clip was asked for; nothing can be measured")
    for start in np.asarray(starts).tolist():
        if start < 0 or start + length > len(episode):
            raise DataError(
                f"{path}: a clip of {length} frames from {start} does not lie in the file's {len(episode)} frames; "
                f"starts run from 0 to {len(episode) - length}"
            )
        inside = episode[start : start + length]
        if (inside != inside[0]).any():
            first = int(np.argmax(inside != inside[0]))
            raise DataError(
                f"{path}: the clip of {length} frames from {start} leaves its episode after {first} frames; choose an "
                "earlier start, or fewer steps"
            )


def _read(frames: h5py.Dataset, indices: np.ndarray) -> np.ndarray:
    """The rows ``indices`` (ascending) of an HDF5 dataset, in one contiguous read."""
    low, high = int(indices[0]), int(indices[-1]) + 1
    block: np.ndarray = frames[low:high]
    return block[indices - low]
