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
from tinyworlds_gate.power.broken.registry import defect, patched
from tinyworlds_gate.power.world import EPISODE_FRAMES
from tinyworlds_gate.reference.rollout import inference
from tinyworlds_gate.reference.rollout.clip_set import ClipSet, cut_clips


def _clips_are(name: str, change: Callable[[ClipSet, Callable[..., ClipSet], Any], ClipSet]) -> None:
    """Register a defect that replaces the drawn clips by ``change(drawn, cut, data)`` (`clip_set.cut_clips`)."""

    @defect(name)
    def _other_clips() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(config: Any, root: Path, trained: Any) -> ClipSet:
                from tinyworlds_gate.reference.data.frames_file import load_frames

                drawn: ClipSet = old(config, root, trained)
                data = load_frames(drawn.data_path, frame_size=drawn.frames_BTCHW.shape[-1], stride=drawn.stride)

                def cut(starts: np.ndarray, steps: int | None = None) -> ClipSet:
                    length = drawn.frames_BTCHW.shape[1] if steps is None else drawn.context + steps
                    everything = tuple(int(one) for one in np.unique(data.episode))
                    return cut_clips(
                        data,
                        np.sort(starts),
                        length,
                        context=drawn.context,
                        data_sha256=drawn.data_sha256,
                        mean_over=everything,
                    )

                return change(drawn, cut, data)

            return broken

        with patched(inference, "draw_held_out", make):
            yield


def _easiest(drawn: ClipSet, count: int) -> np.ndarray:
    """Return the starts of the drawn clips with the least motion."""
    moved = (drawn.frames_BTCHW[:, drawn.context :] - drawn.frames_BTCHW[:, drawn.context - 1 : drawn.context]).square()
    order = moved.flatten(1).mean(dim=1).argsort().numpy()
    return drawn.starts[order[:count]]


def _training_starts(drawn: ClipSet, data: Any) -> np.ndarray:
    """Return as many clips, from episodes without drawn clips."""
    first = np.flatnonzero(np.diff(data.episode, prepend=-1))
    return first[~np.isin(data.episode[first], drawn.episodes)][: len(drawn.starts)]


_clips_are("one-lucky-clip", lambda drawn, cut, data: cut(_easiest(drawn, 1)))
_clips_are("easiest-clips", lambda drawn, cut, data: cut(_easiest(drawn, 16)))
_clips_are("training-clips", lambda drawn, cut, data: cut(_training_starts(drawn, data)))
_clips_are("repeated-clip", lambda drawn, cut, data: cut(np.repeat(drawn.starts[:1], len(drawn.starts))))
_clips_are("shifted-clips", lambda drawn, cut, data: cut(drawn.starts - (drawn.starts % 12 > 0)))


def _clip_frames_are(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Register a defect that changes the frames ``[B, T, C, H, W]`` before inference and comparison."""

    @defect(name)
    def _changed_frames() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(*arguments: Any) -> ClipSet:
                drawn: ClipSet = old(*arguments)
                return replace(drawn, frames_BTCHW=change(drawn.frames_BTCHW))

            return broken

        with patched(inference, "draw_held_out", make):
            yield


_clip_frames_are("scaled-twice", lambda frames: frames / 127.5 - 1)
_clip_frames_are("range-0-255", lambda frames: (frames + 1) * 127.5)
_clip_frames_are("range-0-1", lambda frames: (frames + 1) / 2)
_clip_frames_are("channels-swapped", lambda frames: frames.flip(2))
_clip_frames_are("upside-down", lambda frames: frames.flip(3))
_clip_frames_are("little-contrast", lambda frames: frames * 0.5)


@defect("other-file")
def _other_file() -> Iterator[None]:
    """Read the frames from another file in which nothing moves (constant tiles and light)."""

    def make(old: Any) -> Any:
        def broken(*arguments: Any) -> ClipSet:
            drawn: ClipSet = old(*arguments)
            return of_another_file(drawn)

        return broken

    with patched(inference, "draw_held_out", make):
        yield


def of_another_file(drawn: ClipSet) -> ClipSet:
    """Return clips at the same positions of a second file, with that file's digest."""
    from tinyworlds_gate.power.world import write_world
    from tinyworlds_gate.reference.data.frames_file import load_frames

    path = write_world(Path("data") / "other_frames.h5", seed=1)
    with h5py.File(path, "r+") as file:
        episodes = file["frames"][:].reshape(-1, EPISODE_FRAMES, *file["frames"].shape[1:])
        file["frames"][:] = np.repeat(episodes[:, :1], EPISODE_FRAMES, axis=1).reshape(file["frames"].shape)
    data = load_frames(path, frame_size=drawn.frames_BTCHW.shape[-1])
    return cut_clips(
        data,
        drawn.starts,
        drawn.frames_BTCHW.shape[1],
        context=drawn.context,
        data_sha256=sha256_of(path),
        mean_over=tuple(int(one) for one in np.unique(data.episode)),
    )


@defect("file-changes-meanwhile")
def _file_changes_meanwhile() -> Iterator[None]:
    yield
    path = next(Path("data").glob("*_frames.h5"))
    with h5py.File(path, "r+") as file:
        file["frames"][:] = file["frames"][:] // 2
