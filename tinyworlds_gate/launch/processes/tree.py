"""Find the descendants of a process: once, or several times a second at little cost (L3, H5)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

from tinyworlds_gate.run.process_stat import HAS_PROC, process_stat

REFRESH_S = 2.0


def descendants(pid: int) -> set[int]:
    """Return the PIDs of all descendants of a process now; empty if it is gone."""
    return LaunchTree().below(pid)


class LaunchTree:
    """Descendants of a launcher, with cached parents for frequent calls.

    Each call reads the parents of new PIDs only, and every ``refresh_s`` seconds those of all PIDs. Until then a reused
    PID keeps its old parent. That is accurate enough for device samples; to end processes, use ``descendants``.
    ``clock`` returns monotonic seconds.
    """

    def __init__(self, refresh_s: float = REFRESH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._refresh_s, self._clock = refresh_s, clock
        self._parents: dict[str, int] = {}
        self._next_refresh = 0.0

    def below(self, pid: int) -> set[int]:
        """Return the PIDs of all descendants of a process, as known now."""
        if not HAS_PROC:
            with suppress(psutil.Error):
                return {child.pid for child in psutil.Process(pid).children(recursive=True)}
            return set()
        self._read_table()
        return _below(pid, self._parents)

    def _read_table(self) -> None:
        now = self._clock()
        known = self._parents
        if now >= self._next_refresh:
            known, self._next_refresh = {}, now + self._refresh_s
        parents: dict[str, int] = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            parent = known.get(name)
            if parent is None and (stat := process_stat(name)) is not None:
                parent = stat.parent
            if parent is not None:
                parents[name] = parent
        self._parents = parents


def _below(pid: int, parents: Mapping[str, int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(int(child))
    found: set[int] = set()
    open_pids = [pid]
    while open_pids:
        for child_pid in children.get(open_pids.pop(), ()):
            if child_pid not in found:
                found.add(child_pid)
                open_pids.append(child_pid)
    return found
