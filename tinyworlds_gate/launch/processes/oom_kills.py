"""Count the kernel's OOM kills in the cgroups of a launch, to distinguish them from other SIGKILLs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_COUNTER = re.compile(rb"(?m)^oom_kill (\d+)$")
YOUNG_S = 10.0
SETTLED_INTERVAL_S = 2.0
_FILES = ("memory.events", "memory.oom_control")
"""Counter files of cgroup v2 and v1."""


@dataclass
class _Counter:
    """A process' OOM-kill counter, with the times of its first and last lookup (monotonic seconds)."""

    first: float
    last: float = 0.0
    cgroup: str = ""
    path: Path | None = None


class OomKills:
    """OOM kills since this object was created, in our own memory cgroup and in those of the launch's processes.

    A worker may be in another cgroup (a wrapper, systemd-run, a cluster's prolog), and cgroup v1 counts a kill in the
    victim's cgroup only. For a process without a cgroup counter, the machine's counter is read.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._root, self._proc = root, proc
        self._first: dict[Path, int] = {}
        self._newest: dict[Path, int] = {}
        self._counters: dict[int, _Counter] = {}
        self.read([os.getpid()])

    def read(self, pids: Iterable[int]) -> None:
        """Read all counters, and add those of the cgroups of these processes; ended processes are skipped."""
        for path in {path for pid in pids if (path := self._cached_counter(pid)) is not None}:
            self._first.setdefault(path, _read(path) or 0)
        for path in self._first:
            count = _read(path)
            if count is not None:
                self._newest[path] = count

    def count(self) -> int | None:
        """Return the number of OOM kills; None if the system provides no counter."""
        self.read(())
        grown = [count - self._first[path] for path, count in self._newest.items()]
        return max(grown) if grown else None

    def _cached_counter(self, pid: int) -> Path | None:
        """Cached `_counter_of`: looked up each time while a process is young, then every 2 s."""
        now = time.monotonic()
        known = self._counters.setdefault(pid, _Counter(now))
        if now - known.first < YOUNG_S or now - known.last >= SETTLED_INTERVAL_S:
            known.last = now
            cgroup = self._cgroup_of(pid)
            if cgroup != known.cgroup:
                known.cgroup, known.path = cgroup, self._counter_of(cgroup)
        return known.path

    def _cgroup_of(self, pid: int) -> str:
        try:
            with open(f"{self._proc}/{pid}/cgroup", "rb", buffering=0) as file:
                return file.read().decode("utf-8", errors="surrogateescape")
        except OSError:
            return ""

    def _counter_of(self, cgroup: str) -> Path | None:
        """Return the nearest counter file at or above a process' memory cgroup (``cgroup``: its /proc/<pid>/cgroup)."""
        if not cgroup:
            return None
        for line in cgroup.splitlines():
            _, controllers, inside = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            base = self._root / "memory" if controllers else self._root
            folder = base / inside.lstrip("/")
            for candidate in (folder, *folder.parents):
                found = next((candidate / name for name in _FILES if _read(candidate / name) is not None), None)
                if found is not None:
                    return found
                if candidate == base:
                    break
        machine = self._proc / "vmstat"
        return machine if _read(machine) is not None else None


def _read(path: Path) -> int | None:
    try:
        with open(path, "rb", buffering=0) as file:
            found = _COUNTER.search(file.read())
    except OSError:
        return None
    return int(found[1]) if found else None
