"""Real memory limits for processes: a cgroup, if creating one is permitted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.required_tools import without

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryCgroup:
    """A cgroup below that of this process; a process joins it by writing 0 to ``members``."""

    folder: Path

    @property
    def members(self) -> Path:
        """The file that takes PIDs."""
        return self.folder / "cgroup.procs"


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[MemoryCgroup]:
    """Create a memory cgroup (version 1 or 2) with this limit; if that fails, skip the test, or fail it under CI."""
    folder: Path | None = None
    try:
        folder, limit = make_memory_cgroup()
        limit.write_text(str(limit_bytes))
    except OSError as error:
        if folder is not None and folder.is_dir():
            folder.rmdir()
        without("cgroups", f"no memory cgroup can be made here: {error}")
    try:
        yield MemoryCgroup(folder)
    finally:
        remove_cgroup(folder)


def make_memory_cgroup() -> tuple[Path, Path]:
    """Create a folder in the memory hierarchy; return it and its file for the limit."""
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


def remove_cgroup(folder: Path) -> None:
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
