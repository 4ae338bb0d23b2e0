"""Real file systems that are small, full, without inodes or read-only: a tmpfs, if mounting is allowed (root)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

FILLER = "filler"

FILL = """
def fill_the_disk(folder, leave=0):
    \"\"\"Take every byte of the disk, but ``leave``.\"\"\"
    import os, pathlib
    path = pathlib.Path(folder) / "filler"
    size = 1 << 20
    with open(path, "ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
        if leave:
            file.truncate(max(0, file.tell() - leave))
"""
"""Code that a process runs to fill the disk that a folder lies on; ``free_the_disk`` gives the space back."""


def fill_the_disk(folder: Path, leave: int = 0) -> None:
    """Do what ``FILL`` does, in this process: fill the disk except for ``leave`` bytes."""
    names: dict[str, Any] = {}
    exec(FILL, names)
    names["fill_the_disk"](folder, leave)


def free_the_disk(folder: Path) -> None:
    """Remove what ``fill_the_disk`` wrote."""
    (folder / FILLER).unlink()


@cache
def why_no_disk() -> str | None:
    """Return why no file system can be mounted here, or None."""
    with tempfile.TemporaryDirectory() as folder:
        made = _mount(Path(folder), "size=64k")
        if made is not None:
            return f"needs the right to mount a tmpfs (root): {made}"
        _unmount(Path(folder))
    return None


@contextmanager
def small_disk(folder: Path, *, size: str = "16m", inodes: int | None = None) -> Iterator[None]:
    """Mount a small file system at ``folder``, which is created if absent; its files are gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    problem = _mount(folder, f"size={size}" + ("" if inodes is None else f",nr_inodes={inodes}"))
    assert problem is None, problem
    try:
        yield
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only: by its permissions, or by a read-only mount for root, whom permissions do not stop."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    with small_disk(folder):
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
        yield


def _mount(folder: Path, options: str) -> str | None:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
