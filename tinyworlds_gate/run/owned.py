"""Open and make files only inside the folders that a run owns, and through no symbolic link in them.

A checkout or a run's folder can come from somebody else, with links in it (`results/` → a folder of yours). A path
below an owned folder is therefore walked one folder at a time, each opened without following a link. The owned folder
itself may be reached through links: the user named it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO

from tinyworlds_gate.errors import GateError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Nor does opening a FIFO wait."""
LINK_ON_THE_WAY = "a symbolic link is on the way, which leads elsewhere"
OUTSIDE = "it is outside the folder of the project"
NO_FILE = "it is no regular file"

_SYSTEM = (
    *("/", "/home", "/lost+found", "/media", "/mnt", "/opt", "/root", "/run", "/run/user", "/srv", "/tmp"),
    *("/var", "/var/cache", "/var/lib", "/var/log", "/var/run", "/var/tmp", "/Applications", "/Users", "/Volumes"),
)
"""Refused as a place for outputs; folders below them are not."""
_SYSTEM_WITH_CONTENT = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr"),
    *("/Library", "/System"),
)
_USABLE_INSIDE = ("/dev/shm", "/usr/local", "/usr/src")
"""Folders below these can be used all the same."""


def owned_folder(root: Path, folder: Path) -> Path:
    """Make ``folder`` below ``root`` where it is absent, and return it.

    Raises:
        OSError: a link is on the way (ELOOP), ``folder`` is not below ``root`` (EXDEV), or the disk refuses.
    """
    root.mkdir(parents=True, exist_ok=True)
    try:
        with _walk(root, _below(root, folder), make=True):
            return folder
    except OSError as error:
        raise OSError(
            error.errno, error.strerror, error.filename if error.errno == errno.ELOOP else str(folder)
        ) from None


def open_owned(root: Path, path: Path | str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """Open a regular file below ``root`` and return its descriptor; a relative ``path`` is one of ``root``.

    Raises:
        OSError: as `owned_folder`, or it is no regular file (EINVAL).
    """
    *folders, name = _below(root, Path(root) / path) or ("",)
    with _walk(root, folders) as descriptor:
        return _regular(lambda: os.open(name or ".", flags | _NO_LINK, mode, dir_fd=descriptor), path)


def read_owned(root: Path, path: Path | str, most_bytes: int) -> bytes:
    """Return the content of a file below ``root``, of which at most ``most_bytes`` + 1 bytes are read.

    Raises:
        OSError: as for `open_owned`.
    """
    with os.fdopen(open_owned(root, path), "rb") as file:
        return file.read(most_bytes + 1)


def open_without_link(path: Path, flags: int, mode: int = 0o644) -> int:
    """Open a regular file whose own name is no link; the folders above it were checked when they were made.

    Raises:
        OSError: it is a link (ELOOP) or no regular file (EINVAL), or the disk refuses.
    """
    return _regular(lambda: os.open(path, flags | _NO_LINK, mode), path)


def append_to(path: Path) -> IO[bytes]:
    """Open a file to append to; errors as for `open_without_link`."""
    return os.fdopen(open_without_link(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def append_unbuffered_to(path: Path) -> FileIO:
    """As `append_to`; what the disk refuses is not held back."""
    return FileIO(open_without_link(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def append_text_to(path: Path) -> IO[str]:
    """As `append_to`, for UTF-8 text."""
    return os.fdopen(open_without_link(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a", encoding="utf-8", newline="")


def link_out_of(folder: Path) -> Path | None:
    """Return the first link below ``folder`` that leads out of it, or None.

    A link in place of one checkpoint does not count: nothing is written into an existing checkpoint, and none is
    removed or loaded through a link.
    """
    real = folder.resolve()
    for below, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(below) / name
            if path.is_symlink() and path.parent.name != "checkpoints" and not path.resolve().is_relative_to(real):
                return path
    return None


def require_place_for_outputs(root: Path, option: str, *, home: bool = False) -> None:
    """Refuse folders of the system as the place of a run's outputs, and the home folder unless ``home``.

    Raises:
        GateError: ``root`` is one.
    """
    for path in (Path(os.path.abspath(root)), root.resolve()):
        if _is_system(path) or (not home and str(path) == os.path.expanduser("~")):
            raise GateError(
                f"{option} {root} is your home folder or a folder of the system; a run writes results/, Logs/ and "
                "docs/ there. Name a folder of its own, for example a new one below it."
            )


def _is_system(path: Path) -> bool:
    if str(path) in _SYSTEM:
        return True
    if any(path != Path(one) and path.is_relative_to(one) for one in _USABLE_INSIDE):
        return False
    return any(path.is_relative_to(one) for one in _SYSTEM_WITH_CONTENT)


def _below(root: Path, path: Path) -> tuple[str, ...]:
    """The names that lead from ``root`` to ``path``, none of them `..`."""
    plain = Path(os.path.normpath(path))
    if not plain.is_relative_to(os.path.normpath(root)):
        raise OSError(errno.EXDEV, OUTSIDE, str(path))
    return plain.relative_to(os.path.normpath(root)).parts


@contextmanager
def _walk(root: Path, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Yield a descriptor of the last folder; each is opened in the one before it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        here = Path(root)
        for name in names:
            here = here / name
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
            descriptor = _step(descriptor, name, here)
        yield descriptor
    finally:
        os.close(descriptor)


def _step(descriptor: int, name: str, here: Path) -> int:
    """Open the folder ``name`` in an open folder, which is closed."""
    try:
        found = os.open(name, _FOLDER, dir_fd=descriptor)
    except OSError as error:
        # Of a link, O_DIRECTORY reports ENOTDIR, as of a file.
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and stat.S_ISLNK(
            os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
        ):
            raise OSError(errno.ELOOP, LINK_ON_THE_WAY, str(here)) from None
        raise OSError(error.errno, error.strerror, str(here)) from None
    os.close(descriptor)
    return found


def _regular(opened: Callable[[], int], path: Path | str) -> int:
    try:
        descriptor = opened()
    except OSError as error:
        text = LINK_ON_THE_WAY if error.errno == errno.ELOOP else NO_FILE if error.errno == errno.ENXIO else None
        raise OSError(error.errno, text or error.strerror, str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, NO_FILE, str(path))
    return descriptor
