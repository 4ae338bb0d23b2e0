"""Write a file in full or not at all: into a temporary file beside it, fsync, one rename, fsync of the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends without an error, that file replaces ``path``.

    The folder of ``path`` is made. After an error the temporary file is removed and ``path`` is as before.

    Args:
        durable: bring file and rename to the disk before returning; False for a file that is rewritten every second.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.unlink(missing_ok=True)  # a link that waits there would be followed
        yield temporary
        publish(temporary, path, durable=durable)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Replace ``path`` by ``content`` (text as UTF-8); arguments and errors as for ``atomic_path``."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def publish(temporary: Path, path: Path, *, durable: bool = True) -> None:
    """Rename a complete temporary file to ``path``, which it replaces; by default both are brought to the disk."""
    if durable:
        sync(temporary)
    os.replace(temporary, path)
    if durable:
        sync(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and bring it to the disk; raises OSError when it exists or cannot be written."""
    with path.open("xb", buffering=0) as file:
        write_all(file, data)
        os.fsync(file.fileno())


def write_all(file: FileIO, data: bytes | bytearray | memoryview) -> None:
    """Write all bytes to an unbuffered file, which may take only some of them at a time."""
    with memoryview(data) as view:
        done = 0
        while done < view.nbytes:
            done += file.write(view[done:]) or 0


def sync(path: Path) -> None:
    """Bring the content of a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_synced_folder(folder: Path) -> None:
    """Make a folder and those above it, each brought to the disk in the one above."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)
