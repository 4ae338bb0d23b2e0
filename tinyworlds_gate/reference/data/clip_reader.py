"""Read single clips and their per-frame data from a frames file, without loading the rest.

Axes: B clips, T frames of a clip, H height, W width, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frame_objects import objects_of_clips
from tinyworlds_gate.reference.data.frames_file import (
    check_open_file,
    episode_of_frames,
    open_frames,
    pseudo_episodes,
    read_actions,
    remedy,
    resize_frames,
    strided_indices,
)
from tinyworlds_gate.reference.data.frames_reader import read_each, read_rows


@dataclass(frozen=True)
class ReadClips:
    """``frames`` uint8 [B, T, H, W, C], ``episode`` [B]; ``actions`` [B, T], ``player_position`` [B, T, 2], or None.

    ``objects``: a table [L] with the fields clip, step, kind, x, y (pixels of these frames), or None.
    """

    frames: np.ndarray
    episode: np.ndarray
    actions: np.ndarray | None
    player_position: np.ndarray | None
    objects: np.ndarray | None = None


def read_clips(path: Path, starts: np.ndarray, length: int, *, frame_size: int, stride: int = 1) -> ReadClips:
    """Read ``length`` frames from each of ``starts`` [B]: the same as ``load_frames`` and ``gather_clips`` return.

    Raises ``DataError`` when the file is missing or damaged, or a clip does not lie within one episode.
    """
    fix = remedy(path)
    with open_frames(path, fix) as file:
        keep, episode = _strided_episodes(file, path, fix, stride)
        require_whole_clips(path, episode, starts, length)
        index = np.asarray(starts)[:, None] + np.arange(length)
        frames = np.stack([_read(file["frames"], keep[one]) for one in index])
        recorded = read_actions(file, path, fix) if stride == 1 else None
        actions = None if recorded is None else recorded[index]
        position = file["player_position"][:][keep][index] if "player_position" in file else None
        scale = frame_size / file["frames"].shape[1]
        objects = objects_of_clips(read_rows(file["objects"]), keep[index], scale) if "objects" in file else None
    if frames.shape[2] != frame_size:
        flat = resize_frames(frames.reshape(-1, *frames.shape[2:]), frame_size)
        frames = flat.reshape(len(index), length, *flat.shape[1:])
    return ReadClips(frames, episode[index[:, 0]], actions, position, objects)


def read_frames(path: Path, index: np.ndarray, *, frame_size: int, stride: int = 1) -> np.ndarray:
    """Read single frames uint8 [K, H, W, C] at these ascending indices, as ``load_frames`` returns them.

    Raises ``DataError`` when the file is missing or damaged, or ``index`` is empty.
    """
    fix = remedy(path)
    if not len(index):
        raise DataError(f"{path}: no frame is to be read, so nothing can be computed of them; fix: use more episodes")
    with open_frames(path, fix) as file:
        keep, _ = _strided_episodes(file, path, fix, stride)
        frames = read_each(file["frames"], keep[index])
    return frames if frames.shape[1] == frame_size else resize_frames(frames, frame_size)


def read_episodes(path: Path, *, stride: int = 1) -> np.ndarray:
    """Return the episode of each frame, int64 [N], as ``load_frames`` does but without loading frames.

    Raises ``DataError`` when the file is missing or damaged.
    """
    fix = remedy(path)
    with open_frames(path, fix) as file:
        return _strided_episodes(file, path, fix, stride)[1]


def _strided_episodes(file: h5py.File, path: Path, fix: str, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the frames at this stride, and the episode of each."""
    num_frames, true_episode = check_open_file(file, path, fix).num_frames, episode_of_frames(file)
    keep = strided_indices(num_frames, stride, true_episode)
    return keep, pseudo_episodes(len(keep)) if true_episode is None else true_episode[keep]


def require_whole_clips(path: Path, episode: np.ndarray, starts: np.ndarray, length: int) -> None:
    """Raise ``DataError`` unless every clip lies in the file and in one episode, and there is at least one clip."""
    if not len(starts):
        raise DataError(f"{path}: the list of clips is empty, so nothing can be measured; fix: use at least one clip")
    for start in np.asarray(starts).tolist():
        if start < 0 or start + length > len(episode):
            raise DataError(
                f"{path}: a clip of {length} frames from {start} does not lie in the file's {len(episode)} frames; "
                f"allowed starts are 0 to {len(episode) - length}"
            )
        inside = episode[start : start + length]
        if (inside != inside[0]).any():
            first = int(np.argmax(inside != inside[0]))
            raise DataError(
                f"{path}: the clip of {length} frames from {start} leaves its episode after {first} frames; choose an "
                "earlier start, or fewer steps"
            )


def _read(frames: h5py.Dataset, indices: np.ndarray) -> np.ndarray:
    """Return the rows ``indices`` (ascending) of an HDF5 dataset, read as one contiguous block."""
    low, high = int(indices[0]), int(indices[-1]) + 1
    return read_rows(frames, low, high)[indices - low]
