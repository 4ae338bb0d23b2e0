"""Write an HDF5 file so that no error of the disk is lost and none can crash the process.

HDF5 drops some errors of ``pwrite`` and dereferences freed memory after others. It therefore writes through
``_Output``, which records the first error, keeps what comes after it in memory, and never reports a failure to HDF5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py


class _Output:
    """The file object that HDF5 writes to and reads its own writes from."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._path = path
        self._late: list[tuple[int, bytes]] = []
        self._position = self._size = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: bytearray | memoryview) -> int:
        with memoryview(buffer).cast("B") as view:
            start, done = self._position, 0
            with self._recording():
                while done < view.nbytes and (part := os.pread(self._descriptor, view.nbytes - done, start + done)):
                    view[done : done + len(part)] = part
                    done += len(part)
            view[done:] = bytes(view.nbytes - done)
            for offset, data in self._late:
                low, high = max(start, offset), min(start + view.nbytes, offset + len(data))
                if low < high:
                    view[low - start : high - start] = data[low - offset : high - offset]
            self._position += view.nbytes
            return view.nbytes

    def write(self, data: bytes | memoryview) -> int:
        with memoryview(data).cast("B") as view:
            done = 0
            with self._recording():
                while self.error is None and done < view.nbytes:
                    done += os.pwrite(self._descriptor, view[done:], self._position + done)
            if done < view.nbytes:
                self._late.append((self._position + done, bytes(view[done:])))
            self._position += view.nbytes
            self._size = max(self._size, self._position)
            return view.nbytes

    def truncate(self, size: int) -> int:
        self._size = size
        with self._recording():
            os.ftruncate(self._descriptor, size)
        return size

    def flush(self) -> None:
        """Do nothing: ``sync`` flushes at the end."""

    def sync(self) -> None:
        with self._recording():
            os.fsync(self._descriptor)

    def close(self) -> None:
        with self._recording():
            os.close(self._descriptor)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or OSError(error.errno, error.strerror, str(self._path))


class Hdf5Output:
    """A new HDF5 file that is open for writing."""

    def __init__(self, file: h5py.File, output: _Output) -> None:
        self.file = file
        self._output = output

    def require_written(self) -> None:
        """Raise the first error of the disk, so that no more is computed for a file that is lost."""
        if self._output.error is not None:
            raise self._output.error


@contextmanager
def new_hdf5(path: Path) -> Iterator[Hdf5Output]:
    """Write a new HDF5 file at ``path``, which is replaced; it is on the disk when the block ends.

    Raises:
        OSError: the first error of the disk, with ``path`` as its file name.
    """
    path.unlink(missing_ok=True)
    output = _Output(path)
    try:
        with h5py.File(output, "w") as file:
            yield Hdf5Output(file, output)
        output.sync()
    except Exception:
        if output.error is not None:
            raise output.error from None
        raise
    finally:
        output.close()
    if output.error is not None:
        raise output.error


def remove(path: Path) -> None:
    """Remove a file that was not finished; a disk that refuses this too is not reported over the first error."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
