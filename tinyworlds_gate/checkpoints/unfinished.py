"""Temporary folders of checkpoints: locked while their writer lives; the next writer removes those of dead writers.

The lock is an flock on the folder itself. The kernel drops it when the writer dies in whatever way, and it holds across
PID namespaces and reboots, which a PID in the name would not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from pathlib import Path
from types import TracebackType

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.lock import is_still_at

_STEP = rf"(?P<stage>{'|'.join(STAGES)})_step_(?:0|[1-9][0-9]*)"
_TEMPORARY = re.compile(rf"\.{_STEP}\.tmp-[0-9]+-[0-9a-f]{{8}}")
_PRUNED = re.compile(rf"\.pruned-{_STEP}")
_TRIES = 20


class UnfinishedFolder:
    """``.<name>.tmp-<pid>-<random>`` beside the final folder, made, locked and, unless it was renamed, removed."""

    def __init__(self, final: Path) -> None:
        self._final = final
        self._descriptor = -1
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


def remove_leftovers(parent: Path, stage: str) -> list[Path]:
    """Remove what dead writers of ``stage`` left in a ``checkpoints/`` folder; returns what is gone.

    These are temporary folders that nobody holds and folders that were renamed to be pruned. Whatever has another
    name, is a link, or lies on a file system without locks stays.
    """
    gone = []
    try:
        entries = sorted(parent.iterdir())
    except OSError:
        return []  # the next write reports the error
    for entry in entries:
        if entry.is_symlink() or not entry.is_dir():
            continue
        temporary, pruned = _TEMPORARY.fullmatch(entry.name), _PRUNED.fullmatch(entry.name)
        if (temporary and temporary["stage"] == stage and _remove_if_dead(entry)) or (
            pruned and pruned["stage"] == stage and _remove(entry)
        ):
            gone.append(entry)
    return gone


def _remove_if_dead(folder: Path) -> bool:
    try:
        descriptor = _open(folder)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(folder)
    except OSError:  # held by its writer, or this file system has no locks
        return False
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder; None when another writer is just removing it."""
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # no locks here: then no other writer can get one to remove it with
    return descriptor


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
