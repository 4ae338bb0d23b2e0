"""Temporary folders beside their final names: locked while their writer lives, removable once it is dead.

The lock is an flock on the folder itself. The kernel drops it when the writer dies in whatever way, and it holds across
PID namespaces and reboots, which a PID in the name would not.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType

from tinyworlds_gate.run.flock import is_still_at, try_flock

TEMPORARY = r"tmp-[0-9]+-[0-9a-f]{8}"
"""How the name of such a folder ends: ``.<final name>.tmp-<pid>-<random>``, as a regular expression."""

_TRIES = 20


class UnfinishedFolder:
    """``.<name>.tmp-<pid>-<random>`` beside the final folder, made, locked and, unless it was renamed, removed."""

    _descriptor: int

    def __init__(self, final: Path) -> None:
        self._final = final
        self.path = final

    def __enter__(self) -> Path:
        for _ in range(_TRIES):
            self.path = self._final.with_name(f".{self._final.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
            self.path.mkdir()
            descriptor = _locked(self.path)
            # Between the two calls another writer may have removed it as a leftover.
            if descriptor is not None and is_still_at(descriptor, self.path):
                self._descriptor = descriptor
                return self.path
            if descriptor is not None:
                os.close(descriptor)
        raise OSError(errno.EBUSY, f"temporary folders beside {self._final.name} vanish while they are made")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def remove_if_dead(folder: Path) -> bool:
    """Remove a temporary folder whose writer is dead; False where it lives, or the file system has no locks."""
    try:
        descriptor = _open(folder)
    except OSError:
        return False
    try:
        return try_flock(descriptor) and remove(folder)
    except OSError:  # held by its writer
        return False
    finally:
        os.close(descriptor)


def remove(folder: Path) -> bool:
    """Remove a folder with its content; returns whether it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder; None when another writer is just removing it."""
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return None
    try:
        try_flock(descriptor)  # where there are no locks, no other writer can get one to remove it with
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return descriptor


def _open(folder: Path) -> int:
    return os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
