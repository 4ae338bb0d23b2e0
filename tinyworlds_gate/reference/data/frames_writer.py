"""Write a frames file atomically: a temporary file in the same folder, fsync, reading it back, then a rename.

A killed writer leaves at most a hidden ``.NAME.part``, which the next writer of the same name replaces. An existing
file is never overwritten. A lock on ``.NAME.lock`` makes a second writer wait for the first.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError, DiskError
from tinyworlds_gate.reference.data.hdf5_output import Hdf5Output, new_hdf5, remove
from tinyworlds_gate.reference.data.written_frames import Written, difference
from tinyworlds_gate.run import atomic
from tinyworlds_gate.run.disk import DISK_FULL_ERRNOS
from tinyworlds_gate.run.flock import try_flock
from tinyworlds_gate.run.formats import size_text

_CHUNK_FRAMES = 16


class FramesWriter:
    """Appends frames and their per-frame data to an open file; the same calls give the same bytes."""

    def __init__(self, output: Hdf5Output) -> None:
        self._output = output
        self._file = output.file
        self.written = Written()
        """What a reader of the file must find in it."""
        self.num_frames = 0

    def set_attrs(self, attrs: dict[str, Any]) -> None:
        """Record metadata (numbers and strings) as attributes of the file."""
        for key, value in attrs.items():
            self._file.attrs[key] = value
            self.written.attrs[key] = value

    def append(self, frames: np.ndarray, **per_frame: np.ndarray) -> None:
        """Append ``frames`` uint8 [n, H, W, 3] and, by name, arrays of n entries (``actions``, ``episode``, …)."""
        count = len(frames)
        for name, values in {"frames": frames, **per_frame}.items():
            if len(values) != count:
                raise ValueError(f"{name} has {len(values)} entries for {count} frames")
            dataset = self._file[name] if name in self._file else self._create(name, values)
            dataset.resize(self.num_frames + count, axis=0)
            dataset[self.num_frames :] = values
            self.written.add(name, values.astype(dataset.dtype, copy=False))
        self.num_frames += count
        self._output.require_written()

    def add(self, name: str, values: np.ndarray) -> None:
        """Write a per-frame array for all frames at once, after the last of them."""
        if len(values) != self.num_frames:
            raise ValueError(f"{name} has {len(values)} entries for {self.num_frames} frames")
        self.add_table(name, values)

    def add_table(self, name: str, values: np.ndarray) -> None:
        """Write an array that has no entry for each frame, such as the first frames of the episodes."""
        dataset = self._create(name, values)
        dataset.resize(len(values), axis=0)
        dataset[:] = values
        self.written.add(name, values)
        self._output.require_written()

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
        self.written.add("objects", objects.astype(dataset.dtype, copy=False))
        self._output.require_written()

    def _create(self, name: str, values: np.ndarray) -> Any:
        shape = values.shape[1:]
        options: dict[str, Any] = {"chunks": (4096, *shape)}
        if name == "frames":
            options = {"chunks": (_CHUNK_FRAMES, *shape), "compression": "gzip", "compression_opts": 1}
        return self._file.create_dataset(
            name, shape=(0, *shape), maxshape=(None, *shape), dtype=values.dtype, track_times=False, **options
        )


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock for writing ``path``; other writers wait. Creates the folder.

    Raises:
        DataError: the disk refuses, while the lock is taken or held.
    """
    make_folder(path.parent)
    try:
        with open(path.with_name(f".{path.name}.lock"), "a") as lock:
            try_flock(lock.fileno(), fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise DataError(
            f"{path} was not written: {error.strerror or error}; fix: free the disk or make {path.parent} writable, "
            "and run the same command again"
        ) from error


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


def require_room(path: Path, needed: int, what: str) -> None:
    """Check the free space of the disk for a new file.

    Args:
        needed: bytes of the file, at least.
        what: the content, for the message.

    Raises:
        DiskError: less is free.
    """
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and needed > free:
        raise DiskError(
            f"{path} was not written: {what} take about {size_text(needed)}, and {size_text(free)} are free on its "
            "disk; fix: free some space, or choose a folder on another disk"
        )


@contextmanager
def new_frames_file(path: Path, publish: Callable[[Path, Path], None] = publish) -> Iterator[FramesWriter]:
    """Yield a writer; the file appears at ``path`` only when the block ends without an exception.

    Before, it is brought to the disk, read back and compared with what was appended. ``publish`` takes the complete
    temporary file and ``path``.

    Needs ``write_lock(path)``. Raises ``DataError`` when ``path`` exists, when nothing was appended, when the disk
    reports an error, or when the file reads back differently; ``DiskError`` when the disk is full.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with new_hdf5(temporary) as output:
            writer = FramesWriter(output)
            yield writer
        if writer.num_frames == 0:
            raise DataError(f"{path} was not written: the source has no frame; fix: choose a source with frames")
        found = difference(temporary, writer.written)
        if found is not None:
            raise DataError(
                f"{path} was not written: read back from the disk, {found}. The disk or the memory is faulty; "
                "fix: check both, and run the command again"
            )
        try:
            publish(temporary, path)
        except OSError as error:
            raise write_fault(path, error) from error
    except OSError as error:
        if error.filename != str(temporary):
            raise
        raise write_fault(path, error) from error
    finally:
        remove(temporary)


def write_fault(path: Path, error: OSError) -> DataError | DiskError:
    """Return the error for the user when the disk did not take a new file."""
    if error.errno in DISK_FULL_ERRNOS:
        return DiskError(
            f"{path} was not written: {error.strerror}. The disk is full, or a quota or a limit on the size of files "
            "is reached; fix: free some space and run the command again"
        )
    return DataError(
        f"{path} was not written: {error.strerror}; fix: check the disk and the rights of its folder, and run the "
        "command again"
    )
