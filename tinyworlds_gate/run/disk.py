"""Find a full or read-only disk by writing to it, and report it in one sentence."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyworlds_gate.errors import DiskError
from tinyworlds_gate.run.atomic import write_synced

DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space or no inode left, the quota is spent, a file would grow past the size that is allowed."""

_PROBE_BYTES = 64 * 1024


@contextmanager
def reporting_full_disk() -> Iterator[None]:
    """Turn an ``OSError`` of a full disk into a ``DiskError`` with the fix (context manager and decorator)."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL_ERRNOS:
            raise
        raise DiskError(
            f"{error.filename or 'A file of the run'} was not written: {error.strerror}. The disk is full: free some "
            "space, then go on with --resume-run. What was written before is untouched."
        ) from error


def write_error(folder: Path) -> OSError | None:
    """Write 64 KiB into a folder and remove them again; returns the error of the system, None on success.

    Permissions do not show this: root passes every check, and a read-only mount, a spent quota or a file system
    without inodes fails only when something is written.
    """
    path = folder / f".write-test-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        write_synced(path, bytes(_PROBE_BYTES))
    except OSError as error:
        return error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return None


DISK_FULL = "disk_full"
"""The cause in ``chunk_finished``. The run stops without a retune and can be resumed."""

_MESSAGES = "|".join(re.escape(os.strerror(number)) for number in sorted(DISK_FULL_ERRNOS))
_ERROR_LINE = re.compile(rf"(?m)^.*(?:Error\b|\berror\b).*(?:{_MESSAGES}).*$")


def full_disk(log_text: str, folders: Iterable[Path]) -> str | None:
    """Return the sentence that shows that a child failed on a full disk; None when it did not.

    It is an error in the child's log, else a failed write to a folder that the child uses: a log on the full disk may
    lack its last lines.
    """
    found = _ERROR_LINE.search(log_text)
    if found is not None:
        return found[0].strip()
    for folder in folders:
        error = write_error(folder)
        if error is not None and error.errno in DISK_FULL_ERRNOS:
            return f"{folder} takes no more data: {error.strerror}"
    return None
