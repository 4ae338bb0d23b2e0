"""Read and check frames files in the TinyWorlds layout: HDF5 with a dataset ``frames`` uint8 [N, H, W, 3].

Optional per-frame datasets, which TinyWorlds' files lack: ``actions`` [N] (``actions[t]`` leads from frame t to t+1),
``episode`` [N] and ``player_position`` [N, 2] (x, y in tiles). ``episode_starts`` [E] may replace ``episode``, with
``episode_lengths`` [E] or without; ``clip_starts`` [K] lists the clips of a fixed evaluation set. Every fault raises a
``DataError`` with the file, what was found, what is allowed and the command that fixes it. Existing files are never
changed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.frames_reader import iter_blocks, read_all, read_rows
from tinyworlds_gate.reference.data.game_table import GAMES
from tinyworlds_gate.reference.data.hdf5_chunks import check_chunks, storage_problem
from tinyworlds_gate.reference.data.hdf5_input import open_hdf5
from tinyworlds_gate.reference.data.memory_limit import require_memory
from tinyworlds_gate.reference.data.recorded_actions import actions_problem, episodes_problem

PSEUDO_EPISODE_FRAMES = 256
"""Frames of a pseudo-episode, for files that do not record episodes."""

SOURCE_FPS = 60
"""Frames per second at which TinyWorlds stores its games; the stride is 60 // fps."""

SHOWN_NAMES = 8

_PER_FRAME_SHAPES: dict[str, tuple[int, ...]] = {"actions": (), "episode": (), "player_position": (2,)}


@dataclass(frozen=True)
class FramesData:
    """Frames in memory with their per-frame data.

    ``frames`` uint8 [N, H, W, 3]; ``episode`` int64 [N]; ``actions`` uint8 [N], or None if not recorded or when a
    stride skips frames; ``player_position`` int16 [N, 2] or None; ``stride`` distance in the file between consecutive
    frames; ``has_true_episodes`` False when ``episode`` counts pseudo-episodes; ``attrs`` the file's attributes;
    ``clip_starts`` int64 [K], the clips that the file lists, or None if it lists none or when a stride skips frames.
    """

    path: Path
    frames: np.ndarray
    episode: np.ndarray
    actions: np.ndarray | None
    player_position: np.ndarray | None
    stride: int
    has_true_episodes: bool
    attrs: dict[str, Any] = field(default_factory=dict)
    clip_starts: np.ndarray | None = None

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.frames.shape[1]), int(self.frames.shape[2])


@dataclass(frozen=True)
class FramesFileInfo:
    """Metadata of a valid frames file."""

    num_frames: int
    height: int
    width: int
    has_true_episodes: bool
    attrs: dict[str, Any]


def remedy(path: Path) -> str:
    """Return the fix for a missing or broken file of this name: a sentence with the command that creates it."""
    away = "move the file away and run" if os.path.lexists(path) else "run"
    return f"fix: {away} `{making_command(path.name)}`"


def making_command(file_name: str) -> str:
    """Return the command that makes the frames file of this name."""
    if file_name.lower() == "zelda_frames.h5":
        return "tinyworlds-gate data fetch zelda"
    for game in GAMES.values():
        sizes = game.size_in(file_name)
        if sizes is not None:
            return f"tinyworlds-gate data make {game.name}{''.join(f' --frame-size {size}' for size in sizes)}"
    return f"tinyworlds-gate data import VIDEO.mp4 --name {re.sub(r'_frames$', '', Path(file_name).stem) or 'game'}"


def stride_from_fps(fps: int) -> int:
    """Return the stride at which TinyWorlds reads a 60 fps file to get ``fps``: 15 gives 4."""
    if not 1 <= fps <= SOURCE_FPS:
        raise DataError(
            f"fps: {fps} is not allowed; it must lie between 1 and {SOURCE_FPS} (fix: fps: 15, a stride of 4)"
        )
    return SOURCE_FPS // fps


@contextmanager
def open_frames(path: Path, fix: str) -> Iterator[h5py.File]:
    """Open a frames file for reading; an unreadable file raises ``DataError``."""
    with open_hdf5(path, fix) as file:
        yield file


def check_frames_file(path: Path, fix: str | None = None) -> FramesFileInfo:
    """Check layout, type and shapes of a frames file without reading its pixels.

    ``fix`` replaces the fix named in an error (default: `remedy` of the path).
    Raises ``DataError`` when the file is missing, empty, truncated, or not in the TinyWorlds layout.
    """
    fix = fix or remedy(path)
    with open_frames(path, fix) as file:
        return check_open_file(file, path, fix)


def check_open_file(file: h5py.File, path: Path, fix: str) -> FramesFileInfo:
    """Like ``check_frames_file``, for an open file."""
    if not isinstance(file.get("frames"), h5py.Dataset):
        names = [*map(str, islice(file, SHOWN_NAMES)), *(["…"] if len(file) > SHOWN_NAMES else [])]
        raise DataError(f"{path} holds {names or 'nothing'} and no dataset `frames`; {fix}")
    frames = require_stored(file, "frames", path, fix)
    if frames.dtype != np.uint8:
        raise DataError(f"{path}: `frames` has type {frames.dtype}; uint8 (0 to 255) is needed; {fix}")
    if frames.ndim != 4 or frames.shape[3] != 3 or min(frames.shape[1:3]) == 0:
        raise DataError(f"{path}: `frames` has shape {list(frames.shape)}; [N, H, W, 3] is needed; {fix}")
    count = int(frames.shape[0])
    if count == 0:
        raise DataError(f"{path}: `frames` holds 0 frames; at least one is needed; {fix}")
    for name, rest in _PER_FRAME_SHAPES.items():
        if name in file and _table(file, name, path, fix).shape != (count, *rest):
            raise DataError(
                f"{path}: `{name}` has shape {list(file[name].shape)}; {[count, *rest]} is needed, one entry for each "
                f"of the {count} frames; {fix}"
            )
    if "clip_starts" in file:
        _table(file, "clip_starts", path, fix)
    if "episode_starts" in file:
        starts = _table(file, "episode_starts", path, fix)
        if "episode" not in file:
            _check_starts(starts, path, count, fix)
    _check_lengths(file, path, count, fix)
    if "objects" in file:
        objects = require_stored(file, "objects", path, fix)
        if objects.ndim != 1 or not set(OBJECT_IN_FRAME.names or ()) <= set(objects.dtype.names or ()):
            raise DataError(
                f"{path}: `objects` has shape {list(objects.shape)} and type {objects.dtype}; a table [M] with the "
                f"fields {', '.join(OBJECT_IN_FRAME.names or ())} is needed; {fix}"
            )
    attrs = _attributes(file, path, fix)
    return FramesFileInfo(
        count, int(frames.shape[1]), int(frames.shape[2]), "episode" in file or "episode_starts" in file, attrs
    )


def require_stored(file: h5py.Group, name: str, path: Path, fix: str) -> h5py.Dataset:
    """Return a dataset whose values are all in the file itself; ``DataError`` when it is none."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{path}: `{name}` is no dataset; {fix}")
    problem = storage_problem(dataset)
    if problem is not None:
        raise DataError(f"{path}: `{name}` {problem}; {fix}")
    return dataset


def read_stored(file: h5py.Group, name: str, path: Path, fix: str) -> np.ndarray:
    """Return all values of a dataset.

    Raises:
        DataError: they are not all in the file, or need more memory than the machine has.
        OSError: a chunk is not whole.
    """
    dataset = require_stored(file, name, path, fix)
    require_memory(dataset.nbytes, f"{path}: `{name}` of shape {list(dataset.shape)}", fix)
    if dataset.shape == ():
        return np.asarray(dataset[()])
    return read_rows(dataset)


def _table(file: h5py.File, name: str, path: Path, fix: str) -> h5py.Dataset:
    """Return a dataset of whole numbers with whole chunks."""
    table = require_stored(file, name, path, fix)
    if table.dtype.kind not in "iu" and not (name == "player_position" and table.dtype.kind == "f"):
        axes = "[K]" if name.endswith("_starts") else "[N]"
        raise DataError(
            f"{path}: `{name}` has shape {list(table.shape)} and type {table.dtype}; whole numbers {axes} are "
            f"needed; {fix}"
        )
    check_chunks(table)
    return table


def _attributes(file: h5py.File, path: Path, fix: str) -> dict[str, Any]:
    attrs = {key: value.item() if isinstance(value, np.generic) else value for key, value in file.attrs.items()}
    fps = attrs.get("fps", 1.0)
    if not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise DataError(f"{path}: its attribute `fps` is {fps!r}; frames per second, more than 0, are needed; {fix}")
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in attrs.items()}


def _check_starts(starts: h5py.Dataset, path: Path, count: int, fix: str) -> None:
    values = starts[()]
    if values.ndim != 1 or not len(values) or values[0] != 0 or (np.diff(values) <= 0).any() or values[-1] >= count:
        raise DataError(
            f"{path}: `episode_starts` is {values.tolist()[:8]}; ascending frame indices are needed, the first 0 and "
            f"the last below {count}; {fix}"
        )


def _check_lengths(file: h5py.File, path: Path, count: int, fix: str) -> None:
    if "episode_lengths" not in file or "episode" in file:
        return
    lengths = _table(file, "episode_lengths", path, fix)
    if "episode_starts" not in file:
        raise DataError(
            f"{path} has `episode_lengths` and no `episode_starts`, the first frame of each episode; add it; {fix}"
        )
    problem = episodes_problem(file["episode_starts"][()], lengths[()], count)
    if problem is not None:
        raise DataError(f"{path}: `episode_starts` and `episode_lengths` {problem}; {fix}")


def episode_of_frames(file: h5py.File) -> np.ndarray | None:
    """Return the episode of each frame of a checked file, int64 [N], or None when it records no episodes."""
    if "episode" in file:
        return np.asarray(file["episode"][:], np.int64)
    if "episode_starts" in file:
        return np.searchsorted(file["episode_starts"][:], np.arange(file["frames"].shape[0]), side="right") - 1
    return None


def read_actions(file: h5py.File, path: Path, fix: str) -> np.ndarray | None:
    """Return the action of each frame of a checked file, uint8 [N], or None when it records none.

    Raises:
        DataError: one of them is not a whole number from 0 to 255.
    """
    if "actions" not in file:
        return None
    actions = file["actions"][:]
    problem = actions_problem(actions)
    if problem is not None:
        raise DataError(f"{path}: `actions` {problem}; {fix}")
    return actions.astype(np.uint8)


def load_frames(path: Path, *, frame_size: int | None = None, stride: int = 1) -> FramesData:
    """Read every ``stride``-th frame into memory, resized to ``frame_size`` pixels if the file's size differs.

    Resizing uses Pillow's bilinear filter (antialiased). Non-square frames are refused when a ``frame_size`` is set:
    they are never cropped implicitly (`data import` crops). With true episodes the stride restarts in each episode.
    Without, blocks of 256 strided frames (shorter in small files, so that at least 8 exist) are pseudo-episodes: no
    clip crosses a block, so a split by block shares no frame.

    Raises ``DataError`` for a missing, truncated, empty or wrongly shaped file, or a stride below 1.
    """
    if stride < 1:
        raise DataError(f"stride {stride} is not allowed: an integer of at least 1 is needed (ZELDA: 4)")
    fix = remedy(path)
    with open_frames(path, fix) as file:
        info = check_open_file(file, path, fix)
        if frame_size is not None and info.height != info.width:
            raise DataError(
                f"{path}: frames are {info.height} x {info.width} pixels; square frames are needed to resize them to "
                f"{frame_size} x {frame_size}; fix: import the video again with `tinyworlds-gate data import VIDEO.mp4 "
                f"--name NAME --frame-size {frame_size}`, which crops to the centre square"
            )
        episode = episode_of_frames(file)
        keep = strided_indices(info.num_frames, stride, episode)
        height, width = (frame_size, frame_size) if frame_size is not None else (info.height, info.width)
        require_memory(
            len(keep) * height * width * 3,
            f"{path}: {len(keep)} frames of {height} x {width} pixels",
            "a smaller frame size, a larger stride, or fewer frames",
        )
        frames = _read_kept(file["frames"], keep, frame_size)
        actions = read_actions(file, path, fix) if stride == 1 else None
        position = file["player_position"][:][keep] if "player_position" in file else None
        named = file["clip_starts"][:].astype(np.int64) if "clip_starts" in file and stride == 1 else None
    kept_episode = pseudo_episodes(len(keep)) if episode is None else episode[keep]
    return FramesData(path, frames, kept_episode, actions, position, stride, episode is not None, info.attrs, named)


def pseudo_episodes(num_frames: int) -> np.ndarray:
    """Return int64 [N]: the number of each frame's block of 256 frames, or of an eighth of the file if that is less."""
    block = min(PSEUDO_EPISODE_FRAMES, max(1, num_frames // 8))
    return np.arange(num_frames, dtype=np.int64) // block


def run_starts(episode: np.ndarray) -> np.ndarray:
    """Return the index of the first frame of each contiguous run of one episode, int64 [R]."""
    return np.concatenate(([0], np.flatnonzero(np.diff(episode)) + 1)).astype(np.int64)


def strided_indices(num_frames: int, stride: int, episode: np.ndarray | None) -> np.ndarray:
    """Return the indices of every ``stride``-th frame, int64 [K]; the stride restarts in each episode."""
    index = np.arange(num_frames, dtype=np.int64)
    if episode is None:
        return index[::stride]
    starts = run_starts(episode)
    offset = index - np.repeat(starts, np.diff(np.append(starts, num_frames)))
    return index[offset % stride == 0]


def _read_kept(frames: h5py.Dataset, keep: np.ndarray, frame_size: int | None) -> np.ndarray:
    height, width = frames.shape[1:3]
    resize = frame_size is not None and frame_size != height
    shape = (frame_size, frame_size) if resize else (height, width)
    if len(keep) == frames.shape[0] and not resize:
        return read_all(frames)
    out = np.empty((len(keep), *shape, 3), np.uint8)
    for low, read in iter_blocks(frames):
        first, last = np.searchsorted(keep, (low, low + len(read)))
        if first == last:
            continue
        block = read[keep[first:last] - low] if last - first < len(read) else read
        out[first:last] = resize_frames(block, frame_size) if resize and frame_size is not None else block
    return out


def resize_frames(frames: np.ndarray, frame_size: int) -> np.ndarray:
    """Resize square frames uint8 [N, S, S, 3] to [N, frame_size, frame_size, 3], bilinear, antialiased."""
    from PIL import Image

    size = (frame_size, frame_size)
    resized = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)) for frame in frames]
    return np.stack(resized)
