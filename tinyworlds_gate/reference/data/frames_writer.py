"""Write a frames file atomically: a temporary file in the same folder, fsync, then a rename.

A killed writer leaves at most a hidden ``.NAME.part``, which the next writer of the same name replaces. An existing
file is never overwritten. A lock on ``.NAME.lock`` makes a second writer wait for the first.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.run import atomic

_CHUNK_FRAMES = 16


class FramesWriter:
    """Appends frames and their per-frame data to an open file; the same calls give the same bytes."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self.num_frames = 0

    def set_attrs(self, attrs: dict[str, Any]) -> None:
        """Record metadata (numbers and strings) as attributes of the file."""
        for key, value in attrs.items():
            self._file.attrs[key] = value

    def append(self, frames: np.ndarray, **per_frame: np.ndarray) -> None:
        """Append ``frames`` uint8 [n, H, W, 3] and, by name, arrays of n entries (``actions``, ``episode``, …)."""
        count = len(frames)
        for name, values in {"frames": frames, **per_frame}.items():
            if len(values) != count:
                raise ValueError(f"{name} has {len(values)} entries for {count} frames")
            dataset = self._file[name] if name in self._file else self._create(name, values)
            dataset.resize(self.num_frames + count, axis=0)
            dataset[self.num_frames :] = values
        self.num_frames += count

    def append_objects(self, objects: np.ndarray) -> None:
        """Append rows of the table ``objects`` (``frame_objects.py``); their frames are those of the whole file."""
        if "objects" not in self._file:
            self._file.create_dataset(
                "objects", shape=(0,), maxshape=(None,), dtype=objects.dtype, chunks=(4096,), track_times=False
            )
        dataset = self._file["objects"]
        count = len(dataset)
        dataset.resize(count + len(objects), axis=0)
        dataset[count:] = objects

    def _create(self, name: str, values: np.ndarray) -> h5py.Dataset:
        shape = values.shape[1:]
        options: dict[str, Any] = {"chunks": (4096, *shape)}
        if name == "frames":
            options = {"chunks": (_CHUNK_FRAMES, *shape), "compression": "gzip", "compression_opts": 1}
        return self._file.create_dataset(
            name, shape=(0, *shape), maxshape=(None, *shape), dtype=values.dtype, track_times=False, **options
        )


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock for writing ``path``; other writers wait. Creates the folder."""
    make_folder(path.parent)
    with open(path.with_name(f".{path.name}.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_folder(folder: Path) -> None:
    """Create a data folder, or raise ``DataError`` when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the data folder {folder} cannot be created ({error.strerror}); fix: make its parent writable"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(
            f"the data folder {folder} is not writable; fix: `chmod u+rwx {folder}` or choose another output"
        )


def refuse_existing(path: Path) -> None:
    """Raise ``DataError`` when ``path`` exists, since no file is ever overwritten."""
    if path.exists() or path.is_symlink():
        raise DataError(f"{path} exists already and is never overwritten; fix: move it away, or choose another name")


def publish(temporary: Path, path: Path) -> None:
    """Move a complete temporary file to its final name: fsync, rename, fsync of the folder. Needs ``write_lock``."""
    refuse_existing(path)
    atomic.publish(temporary, path)


@contextmanager
def new_frames_file(path: Path) -> Iterator[FramesWriter]:
    """Yield a writer; the file appears at ``path`` only when the block ends without an exception.

    Needs ``write_lock(path)``. Raises ``DataError`` when ``path`` exists, or when nothing was appended.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with h5py.File(temporary, "w", locking=False) as file:
            writer = FramesWriter(file)
            yield writer
        if writer.num_frames == 0:
            raise DataError(f"{path} was not written: the source has no frame; fix: choose a source with frames")
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
