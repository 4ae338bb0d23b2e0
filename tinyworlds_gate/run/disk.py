"""Whether a folder takes data, found by writing: permissions alone do not tell."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyworlds_gate.errors import DiskError

DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space or no inode left, the quota is spent, a file would grow past the size that is allowed."""

_PROBE_BYTES = 64 * 1024


@contextmanager
def telling_full_disk() -> Iterator[None]:
    """Inside, a write that a full disk refuses raises ``DiskError``: one sentence, and what to do (a decorator too)."""
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
    """Try to write 64 KiB into a folder and remove them again; returns what the system said, None when it took them.

    Root passes every check of permissions, and a read-only mount, a spent quota or a file system without inodes show
    only when something is written.
    """
    path = folder / f".write-test-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with open(path, "xb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return None
