"""Whether a disk is full: by what a child said as it died, and by trying to write."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

DISK_FULL = "disk_full"
"""The cause in ``chunk_finished``; no retune answers it, the run stops and can be resumed."""

DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space or no inode left, the quota is spent, a file would grow past the size that is allowed."""

_WORDS = "|".join(re.escape(os.strerror(number)) for number in sorted(DISK_FULL_ERRNOS))
_TOLD = re.compile(rf"(?m)^.*(?:Error\b|\berror\b).*(?:{_WORDS}).*$")
_PROBE_BYTES = 64 * 1024


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


def write_error(folder: Path) -> OSError | None:
    """Try to write 64 KiB into a folder and remove them again; returns what the system said, None when it took them.

    Asking for permissions is not enough: root passes every check of permissions, a read-only mount, a spent quota and
    a file system without inodes show only when something is written.
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
        path.unlink(missing_ok=True)
    return None
