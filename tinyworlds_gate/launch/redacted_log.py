"""Write the output of a child into its log without secrets.

The child writes into a pipe; a thread of the harness reads it and appends whole lines to the log. A line of up to
64 KiB is never cut, so that a secret in it is recognised.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import threading
import time
from contextlib import suppress
from pathlib import Path

from tinyworlds_gate.run.atomic import atomic_write, write_all
from tinyworlds_gate.run.owned import append_unbuffered_to
from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.run.redact import redact, redact_environment, redact_tree

_PIPE_BYTES = 1 << 20
"""A child can write this much while the harness is stopped."""
_BLOCK_BYTES = 64 * 1024
_GATHER_S = 0.03
_LONGEST_GATHER_S = 0.15
_PARTIAL_S = 1.0
"""A line without an end is written after this time without further output."""
_DRAIN_S = 5.0
FULLY_REDACTED_BYTES = 8 << 20
"""From here on, only secrets of the environment are removed: to look for the shapes of others takes 1 s a MB."""
_LONGEST_ERROR_FILE = 1 << 20


class RedactedLog:
    """The log of one launch, open to append to: pass ``child_end`` to the child, then call ``started`` and ``close``.

    A disk that takes no more output costs the output, not the child.
    """

    def __init__(self, path: Path) -> None:
        """Open the log; raises OSError if that fails."""
        self._file = append_unbuffered_to(path)
        self.start = self._file.tell()
        self._end, self.child_end = os.pipe()
        self._stopped, self._stop = os.pipe()
        os.set_blocking(self._end, False)
        with suppress(OSError, AttributeError):  # not Linux, or the system allows less
            fcntl.fcntl(self.child_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._pending, self._written = b"", 0
        self._thread = threading.Thread(target=self._read, name="child-log", daemon=True)
        self._thread.start()

    def started(self) -> None:
        """The child has its end of the pipe: close ours, so that the output ends with its last process."""
        if self.child_end >= 0:
            os.close(self.child_end)
            self.child_end = -1

    def close(self) -> None:
        """Write what is left in the pipe; a process that was spared may hold its end open."""
        self.started()
        os.close(self._stop)
        self._thread.join()
        os.close(self._stopped)
        self._file.close()

    def _read(self) -> None:
        try:
            begun = heard = 0.0  # when the pending output began, and when the newest of it came
            deadline = None
            while deadline is None or time.monotonic() < deadline:
                ready, _, _ = select.select([self._end, self._stopped], [], [], _GATHER_S if self._pending else None)
                now = time.monotonic()
                if self._stopped in ready and deadline is None:
                    deadline = now + _DRAIN_S
                if self._end in ready:
                    data = os.read(self._end, _BLOCK_BYTES)
                    if not data:
                        break
                    begun, heard = begun if self._pending else now, now
                    self._pending += data
                elif self._stopped in ready:
                    break
                if self._end not in ready or now - begun >= _LONGEST_GATHER_S or len(self._pending) >= _BLOCK_BYTES:
                    self._write_lines(whole=now - heard >= _PARTIAL_S)
                    begun = now
            self._write_lines(whole=True)
        finally:
            os.close(self._end)

    def _write_lines(self, *, whole: bool) -> None:
        """Append the whole lines of the pending output; all of it if ``whole`` or if one line fills a block."""
        cut = len(self._pending) if whole else 1 + max(self._pending.rfind(b"\n"), self._pending.rfind(b"\r"))
        if not cut and len(self._pending) >= _BLOCK_BYTES:
            cut = 1 + max(self._pending.rfind(mark) for mark in (b" ", b"\t", b",", b";")) or len(self._pending)
        data, self._pending = self._pending[:cut], self._pending[cut:]
        if not data:
            return
        text = data.decode("utf-8", "surrogateescape")
        text = redact(text) if self._written < FULLY_REDACTED_BYTES else redact_environment(text)
        self._written += len(data)
        with suppress(OSError):
            write_all(self._file, text.encode("utf-8", "surrogateescape"))


def redact_error_file(path: Path) -> None:
    """Remove the secrets from the exception that torchrun recorded in ``path``, where there is one.

    Raises:
        OSError: it cannot be written again.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST_ERROR_FILE)
    except FileNotFoundError:
        return
    try:
        value = load_json(text)
        found = redact_tree(value)
        if found != value:
            atomic_write(path, json.dumps(found))
    except (ValueError, RecursionError):
        atomic_write(path, redact(text))
