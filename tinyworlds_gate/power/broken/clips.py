"""Defects of the clips: other clips than the drawn ones, and frames changed before the comparison.

Axes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.power.broken.registry import changes_result, defect
from tinyworlds_gate.power.world import EPISODE_FRAMES, write_world
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.rollout import inference
from tinyworlds_gate.reference.rollout.clip_set import ClipSet, cut_clips


def _cut(drawn: ClipSet, data: Any, starts: np.ndarray, data_sha256: str) -> ClipSet:
    """Return clips of the same length at other starts or of another file."""
    return cut_clips(
        data,
        starts,
        drawn.frames_BTCHW.shape[1],
        context=drawn.context,
        data_sha256=data_sha256,
        mean_over=tuple(int(one) for one in np.unique(data.episode)),
    )


def _clips_start(name: str, starts: Callable[[ClipSet, Any], np.ndarray]) -> None:
    """Register a defect that cuts the clips at ``starts(drawn, data)``."""

    def change(drawn: ClipSet) -> ClipSet:
        data = load_frames(drawn.data_path, frame_size=drawn.frames_BTCHW.shape[-1], stride=drawn.stride)
        return _cut(drawn, data, np.sort(starts(drawn, data)), drawn.data_sha256)

    changes_result(name, inference, "draw_held_out", change)


def _easiest(drawn: ClipSet, count: int) -> np.ndarray:
    """Return the starts of the drawn clips with the least motion."""
    moved = (drawn.frames_BTCHW[:, drawn.context :] - drawn.frames_BTCHW[:, drawn.context - 1 : drawn.context]).square()
    order = moved.flatten(1).mean(dim=1).argsort().numpy()
    return drawn.starts[order[:count]]


def _training_starts(drawn: ClipSet, data: Any) -> np.ndarray:
    """Return as many clips, from episodes without drawn clips."""
    first = np.flatnonzero(np.diff(data.episode, prepend=-1))
    return first[~np.isin(data.episode[first], drawn.episodes)][: len(drawn.starts)]


_clips_start("one-lucky-clip", lambda drawn, data: _easiest(drawn, 1))
_clips_start("easiest-clips", lambda drawn, data: _easiest(drawn, 16))
_clips_start("training-clips", _training_starts)
_clips_start("repeated-clip", lambda drawn, data: np.repeat(drawn.starts[:1], len(drawn.starts)))
_clips_start("shifted-clips", lambda drawn, data: drawn.starts - (drawn.starts % 12 > 0))


def _clip_frames_are(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Register a defect that changes the frames ``[B, T, C, H, W]`` before inference and comparison."""
    changes_result(
        name, inference, "draw_held_out", lambda drawn: replace(drawn, frames_BTCHW=change(drawn.frames_BTCHW))
    )


_clip_frames_are("scaled-twice", lambda frames: frames / 127.5 - 1)
_clip_frames_are("range-0-255", lambda frames: (frames + 1) * 127.5)
_clip_frames_are("range-0-1", lambda frames: (frames + 1) / 2)
_clip_frames_are("channels-swapped", lambda frames: frames.flip(2))
_clip_frames_are("upside-down", lambda frames: frames.flip(3))
_clip_frames_are("little-contrast", lambda frames: frames * 0.5)


def of_another_file(drawn: ClipSet) -> ClipSet:
    """Return clips at the same positions of a second file in which nothing moves, with that file's digest."""
    path = write_world(Path("data") / "other_frames.h5", seed=1)
    with h5py.File(path, "r+") as file:
        episodes = file["frames"][:].reshape(-1, EPISODE_FRAMES, *file["frames"].shape[1:])
        file["frames"][:] = np.repeat(episodes[:, :1], EPISODE_FRAMES, axis=1).reshape(file["frames"].shape)
    data = load_frames(path, frame_size=drawn.frames_BTCHW.shape[-1])
    return _cut(drawn, data, drawn.starts, sha256_of(path))


changes_result("other-file", inference, "draw_held_out", of_another_file)


@defect("file-changes-meanwhile")
def _file_changes_meanwhile() -> Iterator[None]:
    yield
    path = next(Path("data").glob("*_frames.h5"))
    with h5py.File(path, "r+") as file:
        file["frames"][:] = file["frames"][:] // 2
