"""Follow a text file that another process appends to; each call reads only what is new."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Read:
    """Complete lines without line ends; ``restarted``: they are from another file than earlier lines."""

    lines: list[bytes]
    restarted: bool = False


class Tail:
    """A file that may not exist yet, may end in an incomplete line, and may be truncated or replaced at any time.

    With ``last_bytes``, reading of a longer file starts that far from its end, at a complete line; ``first_line`` is
    still its first line (the header). A line counts once its line end is written.
    """

    def __init__(self, path: Path, *, last_bytes: int | None = None) -> None:
        self.path = Path(path)
        self.first_line = b""
        self.modified_s: float | None = None
        """Modification time (Unix seconds); None while there is no file."""
        self._last_bytes = last_bytes
        self._file_id: tuple[int, int] | None = None
        self._offset = 0

    def read(self) -> Read:
        """Return the complete lines since the last call; none if the file is missing or unreadable."""
        try:
            found = os.stat(self.path)
        except OSError:
            self.modified_s = None
            return Read([])
        self.modified_s = found.st_mtime
        file_id = (found.st_dev, found.st_ino)
        if file_id == self._file_id and found.st_size == self._offset:
            return Read([])
        try:
            with open(self.path, "rb") as file:
                return self._read_on(file.fileno())
        except OSError:
            return Read([])

    def rewind(self) -> None:
        """Make the next call read the file from its beginning, as if it had been replaced."""
        self._file_id = None if self._file_id is None else (-1, -1)

    def unread(self, line: bytes) -> None:
        """Make the next call return ``line``, the last line read, again."""
        self._offset -= len(line) + 1

    def _read_on(self, fd: int) -> Read:
        status = os.fstat(fd)  # of the opened file, which may be newer than the one checked above
        file_id = (status.st_dev, status.st_ino)
        is_other = file_id != self._file_id or status.st_size < self._offset
        restarted = is_other and self._file_id is not None
        if is_other:
            self._begin(fd, status.st_size)
            self._file_id = file_id
        content = _read_range(fd, self._offset, status.st_size)
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return Read(whole.split(b"\n")[:-1], restarted)

    def _begin(self, fd: int, size: int) -> None:
        self._offset, self.first_line = 0, b""
        if self._last_bytes is None or size <= self._last_bytes:
            return
        self.first_line = _read_range(fd, 0, 4096).split(b"\n", 1)[0]
        start = size - self._last_bytes
        skipped = _read_range(fd, start, size).find(b"\n")
        self._offset = size if skipped < 0 else start + skipped + 1


def _read_range(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(fd, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
