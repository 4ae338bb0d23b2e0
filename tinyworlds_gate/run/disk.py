"""Whether a folder takes data, found by writing: permissions alone do not tell."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
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


# Whether a child died of a full disk: by what it said, and by trying to write where it wrote.

DISK_FULL = "disk_full"
"""The cause in ``chunk_finished``; no retune answers it, the run stops and can be resumed."""

_WORDS = "|".join(re.escape(os.strerror(number)) for number in sorted(DISK_FULL_ERRNOS))
_TOLD = re.compile(rf"(?m)^.*(?:Error\b|\berror\b).*(?:{_WORDS}).*$")


def full_disk(log_text: str, folders: Iterable[Path]) -> str | None:
    """The sentence that shows a full disk as the reason of a failure: an error in the log, else a failed try to write.

    A log on the full disk may lack its last words, so the folders that the child writes to are tried too.
    """
    told = _TOLD.search(log_text)
    if told is not None:
        return told[0].strip()
    for folder in folders:
        error = write_error(folder)
        if error is not None and error.errno in DISK_FULL_ERRNOS:
            return f"{folder} takes no more data: {error.strerror}"
    return None
