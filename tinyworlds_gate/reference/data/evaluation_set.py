"""A fixed evaluation set: clips for the final verdict, from frames that are not in the training data.

It is a frames file with true episodes and a dataset `clip_starts` [K], the first frames of its clips, and is only read.
The checks here run before training: is the file valid, and does it share frames or worlds with the training data?

Axes: K clips, T frames of a clip, N frames of the training data, H height, W width, C colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes, require_whole_clips
from tinyworlds_gate.reference.data.frames_file import FramesData, check_frames_file, open_frames

SETTING = "evaluation_file"
SEEN_SHARE = 0.5
"""A clip is left out when this share of its frames occurs in the training data, pixel for pixel. A smaller share can be
a coincidence (a black screen, a menu, an idle player in a known room) and is only reported."""

RECURRING = 0.25
"""Where a larger share of the frames of the data occurs in more than one of its episodes, as in a game of few states,
single frames say nothing; only the near copies of clips count (docs/gate.md, training frames)."""
_KEY_BYTES = 512

LEFT_OUT_SHARE = 0.05
"""An evaluation set is refused when a larger share of its clips occurs in the training data."""


@dataclass(frozen=True)
class EvaluationSet:
    """A valid evaluation set: its file, the first frames of its clips int64 [K] and their episodes [K]."""

    path: Path
    starts: np.ndarray
    episodes: np.ndarray
    attrs: Mapping[str, Any]
    episodes_in_file: int


@dataclass(frozen=True)
class UnseenPart:
    """The clips that are measured, the first frames of those left out, and frames of the former in the data too."""

    evaluation: EvaluationSet
    left_out: tuple[int, ...]
    shared_frames: int


def open_evaluation_set(path: Path, *, frame_size: int, length: int) -> EvaluationSet:
    """Check an evaluation set for models of ``frame_size`` pixels and clips of ``length`` frames.

    Raises:
        DataError: the file is missing or damaged, of another frame size, without true episodes, or its clips cannot be
            measured.
    """
    fix = f"set {SETTING} to a frames file with `episode` and `clip_starts`, or leave it out"
    info = check_frames_file(path, fix)
    if (info.height, info.width) != (frame_size, frame_size):
        raise DataError(
            f"{SETTING}: {path} holds frames of {info.height} x {info.width} px, but the models are trained on "
            f"{frame_size} x {frame_size}; a fixed evaluation set is never resized. Set frame_size to {info.height}, "
            "or name an evaluation set of that size"
        )
    if not info.has_true_episodes:
        raise DataError(
            f"{SETTING}: {path} does not record its episodes (no `episode`, no `episode_starts`), so no confidence "
            f"interval over episodes can be computed; {fix}"
        )
    starts = _clip_starts(path, fix)
    episode = read_episodes(path)
    require_whole_clips(path, episode, starts, length)
    return EvaluationSet(path, starts, episode[starts], info.attrs, len(np.unique(episode)))


def _clip_starts(path: Path, fix: str) -> np.ndarray:
    with open_frames(path, fix) as file:
        named = file.get("clip_starts")
        if not isinstance(named, h5py.Dataset):
            raise DataError(f"{SETTING}: {path} names no clips (no dataset `clip_starts`); {fix}")
        starts: np.ndarray = named[:]
    if starts.ndim != 1 or not np.issubdtype(starts.dtype, np.integer) or not len(starts):
        raise DataError(
            f"{SETTING}: {path}: `clip_starts` has shape {list(starts.shape)} and type {starts.dtype}; whole numbers "
            f"[K], the first frame of each clip, are needed; {fix}"
        )
    if len(np.unique(starts)) < len(starts):
        raise DataError(f"{SETTING}: {path}: `clip_starts` names a clip twice; name each once")
    return starts.astype(np.int64)


def unseen_part(evaluation: EvaluationSet, data: FramesData, *, length: int) -> UnseenPart:
    """Leave out the clips of an evaluation set that occur in the data, at least half of their frames.

    The comparison includes the held-out episodes of the data, since retries are tuned on them. In a game of which the
    frames recur in many episodes no clip is left out here.

    Raises:
        DataError: a Crafter world occurs in both, or more than one clip in twenty is left out.
    """
    world = _common_world(evaluation, data)
    if world is not None:
        raise DataError(
            f"{SETTING}: {evaluation.path} and {data.path} both use Crafter's world {world} (by their `seed`), so the "
            "evaluation would measure a world seen in training. Make the evaluation set with another seed"
        )
    frames = read_clips(evaluation.path, evaluation.starts, length, frame_size=data.frames.shape[1]).frames
    seen_KT = frames_seen(frames, data.frames)
    share_K = seen_KT.mean(axis=1)
    out_K = (share_K >= SEEN_SHARE) & (_recurring(data) <= RECURRING)
    if out_K.sum() > LEFT_OUT_SHARE * len(out_K):
        most = int(np.argmax(share_K))
        raise DataError(
            f"{SETTING}: {int(out_K.sum())} of the {len(out_K)} clips of {evaluation.path} occur in the training data "
            f"{data.path}, the clip from {evaluation.starts[most]} with {int(seen_KT[most].sum())} of its {length} "
            f"frames. The verdict would measure training clips; at most {LEFT_OUT_SHARE:.0%} of the clips can be left "
            "out. Remove these clips from `clip_starts`, or use another evaluation set"
        )
    left = replace(evaluation, starts=evaluation.starts[~out_K], episodes=evaluation.episodes[~out_K])
    return UnseenPart(left, tuple(evaluation.starts[out_K].tolist()), int(seen_KT[~out_K].sum()))


def frames_seen(clips_KTHWC: np.ndarray, data_NHWC: np.ndarray) -> np.ndarray:
    """Return bool [K, T]: which frames occur in the data, pixel for pixel; frames of a single colour do not count."""
    frames = clips_KTHWC.reshape(-1, *clips_KTHWC.shape[2:])
    clip_keys, data_keys = _keys(frames), _keys(data_NHWC)
    order = np.argsort(data_keys, kind="stable")
    first = np.searchsorted(data_keys[order], clip_keys, side="left")
    seen = np.zeros(len(frames), bool)
    for number in np.flatnonzero(np.isin(clip_keys, data_keys)).tolist():
        frame, at = frames[number], int(first[number])
        if (frame == frame[0, 0]).all():
            continue
        while at < len(order) and data_keys[order[at]] == clip_keys[number]:
            if np.array_equal(data_NHWC[order[at]], frame):
                seen[number] = True
                break
            at += 1
    return seen.reshape(clips_KTHWC.shape[:2])


def _keys(frames_NHWC: np.ndarray) -> np.ndarray:
    """Return hash keys uint64 [N], equal for equal frames: a weighted sum of bytes spread over the frame."""
    rng = np.random.default_rng(0)
    size = int(np.prod(frames_NHWC.shape[1:]))
    where = np.sort(rng.choice(size, size=min(size, _KEY_BYTES), replace=False))
    weights = rng.integers(1, 2**63, size=len(where), dtype=np.uint64) | np.uint64(1)
    keys = np.empty(len(frames_NHWC), np.uint64)
    for low in range(0, len(frames_NHWC), 1024):
        flat = frames_NHWC[low : low + 1024].reshape(-1, size)
        keys[low : low + 1024] = (flat[:, where] * weights).sum(axis=1, dtype=np.uint64)
    return keys


def _recurring(data: FramesData) -> float:
    """Return the share of the frames of the data that occur in more than one episode."""
    keys, number = np.unique(_keys(data.frames), return_inverse=True)
    first, last = np.full(len(keys), np.inf), np.full(len(keys), -np.inf)
    np.minimum.at(first, number, data.episode)
    np.maximum.at(last, number, data.episode)
    return float((first < last)[number].mean())


def _common_world(evaluation: EvaluationSet, data: FramesData) -> int | None:
    """Return a Crafter world that occurs in both, or None when there is none or a seed is not recorded."""
    seeds = [attrs.get("seed") if attrs.get("game") == "crafter" else None for attrs in (evaluation.attrs, data.attrs)]
    if not all(isinstance(seed, int) for seed in seeds):
        return None
    from tinyworlds_gate.reference.data.crafter_world import world_seed

    episodes = (evaluation.episodes_in_file, len(np.unique(data.episode)))
    evaluation_worlds, data_worlds = (
        {world_seed(int(str(seed)), number) for number in range(count)}
        for seed, count in zip(seeds, episodes, strict=True)
    )
    return min(evaluation_worlds & data_worlds, default=None)
