"""Durable writing of checkpoint files: hashed and fsynced, in folders that are fsynced too."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from types import TracebackType

from tinyworlds_gate.run.atomic import write_all
from tinyworlds_gate.run.formats import size_text

BUFFER_BYTES = 2**20


class SyncedFile:
    """A new file for ``torch.save``: hashed while it is written, in bounded memory, fsynced when closed.

    torch's zip writer replaces an error of its file by its own and may abort the process. So an ``OSError`` is stored,
    later writes are dropped, and the error is raised when the file is closed.
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
        """Do nothing: the data is flushed when the file is closed."""

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
            write_all(self._file, data)
        except OSError as error:
            self._error = self._error or error


def require_room(folder: Path, needed: int) -> None:
    """Check the free space of a disk; ``folder`` may not exist yet. A quota shows only while writing.

    Args:
        needed: bytes of the files, at least.

    Raises:
        OSError: ENOSPC with both numbers, or the disk's free space is unknown.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and needed > free:
        sizes = f"a checkpoint takes {size_text(needed)}, and {size_text(free)} are free on the disk of {folder}"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {sizes}")
