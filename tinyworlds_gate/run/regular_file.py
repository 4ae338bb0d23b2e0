"""Check that a path is a regular file before it is opened: a FIFO blocks its reader, a device never ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tinyworlds_gate.run.formats import size_text

MISSING = "does not exist"
_LARGE, _MOST_RATIO = 2**30, 16


def regular_file_problem(path: Path) -> str | None:
    """Return what keeps a path from being a regular file (`is a folder`), for a sentence; None when it is one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    except ValueError as error:  # a null byte in the name
        return f"is no name of a file ({error})"
    if not stat.S_ISREG(found.st_mode):
        return "is a folder" if stat.S_ISDIR(found.st_mode) else "is a FIFO, socket or device"
    return sparse_problem(found)


def sparse_problem(found: os.stat_result) -> str | None:
    """Return that nearly nothing of a large file is on the disk, for a sentence; None otherwise."""
    on_disk = found.st_blocks * 512
    if found.st_size <= _LARGE or on_disk * _MOST_RATIO >= found.st_size:
        return None
    return f"has {size_text(found.st_size)}, of which {size_text(on_disk)} were ever written; copy the whole file again"


def open_regular(path: Path) -> int:
    """Return a descriptor of a regular file for reading; never waits for the other end of a FIFO.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    problem = regular_file_problem(path)
    if problem is not None:
        raise OSError(problem)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError("was replaced by something else than a file")
