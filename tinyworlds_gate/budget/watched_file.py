"""Notice that anybody opens a file, by inotify: whatever the path, also through a hard link (Linux only)."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import TracebackType

_OPENED_OR_CHANGED = 0x1 | 0x2 | 0x4 | 0x20
"""IN_ACCESS, IN_MODIFY, IN_ATTRIB (as a hard link causes it), IN_OPEN."""
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC


class WatchedFile:
    """Watch a file from its creation on; ``touched`` is None where the system cannot watch."""

    def __init__(self, path: Path | None) -> None:
        self._descriptor = -1
        if path is None or sys.platform != "linux":
            return
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = int(libc.inotify_init1(_NONBLOCK_CLOEXEC))
        if (
            self._descriptor >= 0
            and libc.inotify_add_watch(self._descriptor, os.fsencode(path), _OPENED_OR_CHANGED) < 0
        ):
            self.close()

    def touched(self) -> bool | None:
        """Return whether the file was opened, changed or linked since; the answer is given once."""
        if self._descriptor < 0:
            return None
        try:
            return bool(os.read(self._descriptor, 64 * 1024))
        except BlockingIOError:
            return False

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> WatchedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
