"""Short codes of frames, by which near copies are found: other encodings, noise, one level more a pixel.

A code has random projections of the frame's lightness at 32 x 32 px and of its colour at 8 x 8 px, and its mean colour.
The distance of two codes estimates the root mean squared difference of the frames in levels (of 255). Averaging removes
most of the noise of an encoder, and small objects still count.

Axes: N frames, H height, W width, C colours, D numbers of a code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import read_stored
from tinyworlds_gate.reference.data.hdf5_input import open_hdf5
from tinyworlds_gate.reference.data.hdf5_output import new_hdf5
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.plain_json import parse_json

SIDE = 32
"""Pixels to which a frame is averaged."""
PROJECTIONS = 32
COLOUR_WEIGHT = 0.7
"""Of the mean colour in the distance: a copy that is one level brighter is a copy."""
SAME_PICTURE = 0.4
"""A frame whose code is as near to that of the frame before is not recorded again."""
_COARSE = 8
"""Pixels to which colour is averaged, since encoders store it coarsely."""
_LIGHT = np.array([0.299, 0.587, 0.114])
_COLOURS = np.array([[-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
"""Weights of the red, green and blue values in the lightness and in the two colour values of JPEG."""
_COLOUR_SCALE = COLOUR_WEIGHT * (PROJECTIONS / 3) ** 0.5
_BLOCK = 256


@dataclass(frozen=True)
class KnownFrames:
    """The codes of one file's frames, without repetitions of the frame before.

    ``codes`` int16 [M, D], ``frame`` int32 [M] the position of each in the file, ``episode`` int32 [M]; ``name`` of the
    file, ``stride`` at which it was read for the training, ``count`` of its frames with repetitions.
    """

    codes: np.ndarray
    frame: np.ndarray
    episode: np.ndarray
    name: str
    stride: int
    count: int

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(np.unique(self.episode))

    def of_episodes(self, which: Iterable[int], count: int) -> KnownFrames:
        """Return the part of some episodes, which have ``count`` frames."""
        chosen = np.isin(self.episode, np.fromiter(which, np.int64))
        return replace(
            self, codes=self.codes[chosen], frame=self.frame[chosen], episode=self.episode[chosen], count=count
        )


def frame_codes(frames_NHWC: np.ndarray) -> np.ndarray:
    """Return the codes int16 [N, D] of frames uint8 [N, H, W, C] of any size."""
    count, height, width, _ = frames_NHWC.shape
    weights = _weights(height, width)
    codes = np.empty((count, weights.shape[1]), np.int16)
    for low in range(0, count, _BLOCK):
        rows = _rows(frames_NHWC[low : low + _BLOCK].reshape(-1, height, width * 3))
        numbers = rows.reshape(len(rows), -1) @ weights
        numbers[:, PROJECTIONS:] -= 127.5 * _COLOUR_SCALE
        codes[low : low + _BLOCK] = np.rint(numbers)
    return codes


def _rows(frames_NHX: np.ndarray) -> np.ndarray:
    """Return the sums of groups of rows, float32 [N, S, X]; a row that lies in two groups counts by its parts."""
    count, height, width = frames_NHX.shape
    if height % SIDE:
        return np.matmul(_averages(height) * (height / SIDE), frames_NHX.astype(np.float32))
    grouped = frames_NHX.reshape(count, SIDE, height // SIDE, width)
    return np.add.reduce(grouped, axis=2, dtype=np.uint16).astype(np.float32)


@lru_cache(maxsize=8)
def _weights(height: int, width: int) -> np.ndarray:
    """Return float32 [S * W * C, D]: a code is the product of the sums of a frame's rows with it."""
    columns_SW, size = _averages(width), SIDE * SIDE
    rng = np.random.Generator(np.random.Philox(key=0x636F6465))
    light = rng.standard_normal((SIDE, SIDE, 1, PROJECTIONS)) * _LIGHT[:, None] / SIDE
    coarse = rng.standard_normal((_COARSE, _COARSE, 2, PROJECTIONS)) * (_COARSE / size)
    each = SIDE // _COARSE
    colours = np.einsum("stjd,jc->stcd", coarse, _COLOURS).repeat(each, axis=0).repeat(each, axis=1)
    numbers = light + colours
    numbers -= numbers.mean(axis=(0, 1))  # a frame's mean colour does not count here
    colour = np.broadcast_to(np.eye(3) * (_COLOUR_SCALE / size), (SIDE, SIDE, 3, 3))
    small = np.concatenate([numbers, colour], axis=3) * (SIDE / height)
    return np.einsum("stcd,tw->swcd", small, columns_SW).reshape(SIDE * width * 3, -1).astype(np.float32)


@lru_cache(maxsize=8)
def _averages(size: int) -> np.ndarray:
    """Return float32 [S, size] that averages ``size`` pixels to ``SIDE``; each pixel counts by its overlap."""
    edges = np.arange(SIDE + 1) * size / SIDE
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(size)
    overlap = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0.0, None)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def known_frames(
    blocks: Iterable[tuple[int, np.ndarray]], episode: np.ndarray, which: Iterable[int], *, name: str, stride: int
) -> KnownFrames:
    """Return the codes of the frames of some episodes.

    Args:
        blocks: the index of the first frame and the frames uint8 [n, H, W, C], in order, for all frames of the file.
        episode: ``[N]``, the episode of each frame.
        which: the episodes to record.
        name: of the file, for sentences.
        stride: at which the training reads the file.
    """
    chosen = np.isin(episode, np.fromiter(which, np.int64))
    codes, index, last = [], [], None
    for low, frames in blocks:
        inside = np.flatnonzero(chosen[low : low + len(frames)])
        if not len(inside):
            continue
        found = frame_codes(frames if len(inside) == len(frames) else frames[inside])
        before = np.concatenate([found[:1] if last is None else last, found[:-1]])
        new = code_distance(found, before) > SAME_PICTURE
        new[0] |= last is None
        # A new episode begins anew, whatever the frame before it shows.
        starts = episode[low + inside]
        new[1:] |= starts[1:] != starts[:-1]
        new[0] |= low + inside[0] > 0 and episode[low + inside[0]] != episode[low + inside[0] - 1]
        codes.append(found[new])
        index.append(low + inside[new])
        last = found[-1:]
    if not codes:
        raise DataError(f"{name}: none of its frames lies in an episode of the training")
    frame = np.concatenate(index)
    return KnownFrames(
        np.concatenate(codes), frame.astype(np.int32), episode[frame].astype(np.int32), name, stride, int(chosen.sum())
    )


def code_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance of codes [..., D] in levels."""
    difference = a.astype(np.float32) - b
    return np.sqrt(np.square(difference).sum(axis=-1) / PROJECTIONS)


def write_known(path: Path, sources: Sequence[KnownFrames], unknown: Mapping[str, str]) -> None:
    """Write the codes of several files into one, about 30 bytes a frame.

    ``unknown``: stage → why further frames, on which its model was trained, are not known.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_path(path) as temporary, new_hdf5(temporary) as output:
        file = output.file
        file.attrs["unknown"] = json.dumps(dict(unknown))
        for number, one in enumerate(sources):
            group = file.create_group(f"{number:03d}")
            for key in ("codes", "frame", "episode"):
                group.create_dataset(key, data=getattr(one, key), compression="gzip", shuffle=True)
            group.attrs.update({"name": one.name, "stride": one.stride, "count": one.count})


def read_known(path: Path) -> tuple[list[KnownFrames], dict[str, str]]:
    """Read what ``write_known`` wrote: the sources, and stage → why further frames are not known.

    Raises:
        DataError: the file is missing or damaged.
    """
    fix = "restore it from the run that wrote it"
    try:
        with open_hdf5(path, fix, needed="file of frame codes (HDF5)") as file:
            sources = [_read_source(group, path, fix) for group in file.values()]
            unknown = parse_json(file.attrs["unknown"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: the codes of training frames cannot be read ({error}); {fix}") from error
    if not isinstance(unknown, dict):
        raise DataError(f"{path}: the codes of training frames cannot be read (`unknown` is no mapping); {fix}")
    return sources, unknown


def _read_source(group: h5py.Group, path: Path, fix: str) -> KnownFrames:
    codes, frame, episode = (read_stored(group, name, path, fix) for name in ("codes", "frame", "episode"))
    if codes.dtype != np.int16 or codes.ndim != 2 or {frame.shape, episode.shape} != {codes.shape[:1]}:
        raise ValueError(f"codes of shape {list(codes.shape)} and type {codes.dtype}")
    name, stride, count = (group.attrs[key] for key in ("name", "stride", "count"))
    return KnownFrames(codes, frame, episode, str(name), int(stride), int(count))
