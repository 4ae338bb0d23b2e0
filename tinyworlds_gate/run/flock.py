"""Take an flock, on file systems that have locks and on those that have none."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def try_flock(descriptor: int, operation: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Return True with the lock held, False where the file system has no locks (NFS also has none for folders).

    Raises:
        BlockingIOError: another open file holds the lock.
        OSError: the disk failed.
    """
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        no_locks = error.errno in _NO_LOCKS or (
            error.errno == errno.EBADF and stat.S_ISDIR(os.fstat(descriptor).st_mode)
        )
        if not no_locks:
            raise
        return False
    return True


def is_still_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Return whether an open file or folder is the one at the path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False
