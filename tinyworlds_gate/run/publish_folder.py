"""Publish a folder whole: written beside its place, brought to the disk, swapped in; a rerun repairs a killed one.

Where the system can exchange two names in one step (``renameat2``), the final name always has a whole folder.
Elsewhere the earlier folder is first renamed to ``.<name>.earlier``, and ``recover_folder`` renames it back if nothing
took its place.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinyworlds_gate.run.atomic import make_synced_folder, sync
from tinyworlds_gate.run.unfinished import TEMPORARY, UnfinishedFolder, remove_if_dead

_CANNOT_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def published_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends without an error, it replaces ``folder``, on the disk too.

    A kill or a power loss at any moment leaves the earlier folder or the new one, whole.

    Raises:
        OSError: the folder cannot be written; ``folder`` is as before.
    """
    make_synced_folder(folder.parent)
    recover_folder(folder)
    with UnfinishedFolder(folder) as new:
        yield new
        _sync_tree(new)
        _put_in_place(new, folder)


def recover_folder(folder: Path) -> None:
    """Complete or undo what a killed ``published_folder`` left beside ``folder``.

    Raises:
        OSError: the earlier folder cannot be renamed back.
    """
    earlier = _earlier(folder)
    if os.path.lexists(earlier):
        if os.path.lexists(folder):
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            earlier.rename(folder)
            sync(folder.parent)
    temporary = re.compile(rf"\.{re.escape(folder.name)}\.{TEMPORARY}")
    if folder.parent.is_dir():
        for entry in folder.parent.iterdir():
            if temporary.fullmatch(entry.name):
                remove_if_dead(entry)


def _put_in_place(new: Path, folder: Path) -> None:
    if not os.path.lexists(folder):
        new.rename(folder)
        sync(folder.parent)
    elif exchange(new, folder):
        try:
            sync(folder.parent)
        except OSError:
            exchange(new, folder)
            raise
    else:
        _rename_both(new, folder)


def _rename_both(new: Path, folder: Path) -> None:
    """Replace a folder by two renames, the first of which is on the disk before the second."""
    earlier = _earlier(folder)
    folder.rename(earlier)
    try:
        sync(folder.parent)
        new.rename(folder)
    except BaseException:
        earlier.rename(folder)
        raise
    sync(folder.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _earlier(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.earlier")


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; returns False where the system or the file system cannot.

    Raises:
        OSError: the disk refuses.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def _sync_tree(folder: Path) -> None:
    """Bring all files and folders below a folder, and itself, to the disk."""
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(below) / name)
        sync(Path(below))
