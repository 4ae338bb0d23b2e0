"""Counts the kernel's OOM kills where a launch's processes are charged for their memory, to tell them from other
SIGKILLs."""

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
"""Of a cgroup of version 2 and of version 1."""


@dataclass
class _Known:
    """A process' counter, when it was first asked for and when it was looked up last (monotonic seconds)."""

    first: float
    looked: float = 0.0
    cgroup: str = ""
    path: Path | None = None


class OomKills:
    """The kills since this object was made: in our own memory cgroup, and in those that the launch's processes are in.

    A worker may sit in a cgroup of its own (a wrapper, systemd-run, a cluster's prolog), and version 1 counts a kill in
    the victim's cgroup only. Where a process has no cgroup with a counter, the machine's own counter is read.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._root, self._proc = root, proc
        self._first: dict[Path, int] = {}
        self._newest: dict[Path, int] = {}
        self._known: dict[int, _Known] = {}
        self.look([os.getpid()])

    def look(self, pids: Iterable[int]) -> None:
        """Read the counters again, with those of the cgroups that these processes are in now; gone ones are skipped."""
        for path in {path for pid in pids if (path := self._known_counter(pid)) is not None}:
            self._first.setdefault(path, _read(path) or 0)
        for path in self._first:
            count = _read(path)
            if count is not None:
                self._newest[path] = count

    def count(self) -> int | None:
        """How many kills were seen; None where the system counts none."""
        self.look(())
        grown = [count - self._first[path] for path, count in self._newest.items()]
        return max(grown) if grown else None

    def _known_counter(self, pid: int) -> Path | None:
        """As `_counter_of`, looked up each time while a process is young, and then every 2 s: few move later."""
        now, known = time.monotonic(), self._known.get(pid)
        if known is None:
            known = self._known[pid] = _Known(now)
        if now - known.first < YOUNG_S or now - known.looked >= SETTLED_INTERVAL_S:
            known.looked = now
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
        """The nearest counter at or above the cgroup that a process is charged to, by its `/proc/<pid>/cgroup`."""
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
