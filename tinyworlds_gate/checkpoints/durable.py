"""Bytes that are on the disk before the next step is taken: files and folders, flushed and fsynced."""

from __future__ import annotations

import errno
import hashlib
import os
from io import FileIO
from pathlib import Path
from types import TracebackType

BUFFER_BYTES = 2**20


class SyncedFile:
    """A new file for ``torch.save`` to write into: hashed as it grows, in bounded memory, on the disk when closed.

    torch's zip writer turns an error of its file into one of its own and may end the process over it. So an ``OSError``
    is kept, what comes after it is dropped, and it is raised when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._pending = bytearray()
        self._hash = hashlib.sha256()
        self._error: OSError | None = None
        self.size = 0
        """Bytes taken so far."""

    @property
    def sha256(self) -> str:
        """Of the bytes taken so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes; always takes all of them."""
        with memoryview(data).cast("B") as view:
            if self._error is None:
                self._hash.update(view)
                self.size += view.nbytes
                if len(self._pending) + view.nbytes > BUFFER_BYTES:
                    self._write_out(self._pending)
                    self._pending = bytearray()
                if view.nbytes > BUFFER_BYTES:
                    self._write_out(view)
                else:
                    self._pending += view
            return view.nbytes

    def flush(self) -> None:
        """Nothing: the end is what has to be on the disk."""

    def __enter__(self) -> SyncedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        with self._file:
            if kind is None:
                self._write_out(self._pending)
                if self._error is not None:
                    raise self._error
                os.fsync(self._file.fileno())

    def _write_out(self, data: bytearray | memoryview) -> None:
        try:
            _write_all(self._file, data)
        except OSError as error:
            self._error = self._error or error


def _write_all(file: FileIO, data: bytes | bytearray | memoryview) -> None:
    with memoryview(data) as view:
        done = 0
        while done < view.nbytes:
            done += file.write(view[done:]) or 0


def write_synced(file: Path, data: bytes) -> None:
    """Write a new file and bring it to the disk; raises OSError when it exists or cannot be written."""
    with file.open("xb", buffering=0) as stream:
        _write_all(stream, data)
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_synced_folder(folder: Path) -> None:
    """Make a folder and those above it, each brought to the disk in the one above."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


# Whether a disk has room for a checkpoint, as far as that can be known before it is written.


def require_room(folder: Path, needed: int) -> None:
    """Refuse what cannot fit; ``folder`` may not exist yet. A quota or another writer is only found while writing.

    Args:
        needed: bytes of the files, at least.

    Raises:
        OSError: ENOSPC with both numbers, or the disk cannot be asked.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and needed > free:
        told = f"a checkpoint takes {_mib(needed)}, and {_mib(free)} are free on the disk of {folder}"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {told}")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
