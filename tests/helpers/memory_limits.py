"""Real limits on the memory of a process: a memory cgroup of the kernel's, where making one is permitted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryCgroup:
    """A cgroup below this process's own; a process that writes 0 into ``members`` is in it."""

    folder: Path

    @property
    def members(self) -> Path:
        """The file that takes PIDs."""
        return self.folder / "cgroup.procs"


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[MemoryCgroup]:
    """A memory cgroup (of version 1 or 2) that holds so much; the test is skipped, with the reason, where none can be
    made."""
    folder: Path | None = None
    try:
        folder, limit = _make(limit_bytes)
        limit.write_text(str(limit_bytes))
    except OSError as error:
        if folder is not None and folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield MemoryCgroup(folder)
    finally:
        _remove(folder)


def _make(limit_bytes: int) -> tuple[Path, Path]:
    """A new folder in the hierarchy that limits memory, and the file that takes the limit."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    first = next((path for _, names, path in lines if "memory" in names.split(",")), None)
    base = ROOT / "memory" / first.lstrip("/") if first is not None else None
    if base is None:
        unified = next((path for _, names, path in lines if not names), "/")
        base = ROOT / unified.lstrip("/")
        if not (base / "cgroup.controllers").exists():
            raise FileNotFoundError("the kernel has no cgroup that limits memory")
    folder = base / f"tinyworlds-gate-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    if first is not None:
        return folder, folder / "memory.limit_in_bytes"
    limit = folder / "memory.max"
    if not limit.exists():
        # Version 2 hands a controller down only from a cgroup that holds no process itself; ours is not ours to empty.
        folder.rmdir()
        raise PermissionError(f"{base} does not hand the memory controller down (cgroup.subtree_control)")
    swap = folder / "memory.swap.max"
    if swap.exists():
        swap.write_text("0")
    return folder, limit


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + 10.0
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
