"""Which processes are below another one: once and thoroughly, or five times a second at little cost (L3, H5)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

from tinyworlds_gate.run.process_stat import HAS_PROC, process_stat

WHOLE_S = 2.0


def descendants(pid: int) -> set[int]:
    """The PIDs of all processes below one, at this moment; empty when it is gone.

    On Linux the process table is read once and nothing else.
    """
    return LaunchTree().below(pid)


class LaunchTree:
    """The processes below a launcher, for someone who asks several times a second.

    A parent is read of the PIDs that are new since the last call, and of all once ``whole_s`` seconds are over: until
    then a PID that was given to another process keeps its old parent. That is good enough for samples of what devices
    do; who wants to end a process asks ``descendants``. ``clock`` gives monotonic seconds.
    """

    def __init__(self, whole_s: float = WHOLE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._whole_s, self._clock = whole_s, clock
        self._parents: dict[str, int] = {}
        self._next_whole = 0.0

    def below(self, pid: int) -> set[int]:
        """The PIDs of all processes below one, as known now."""
        if not HAS_PROC:
            with suppress(psutil.Error):
                return {child.pid for child in psutil.Process(pid).children(recursive=True)}
            return set()
        self._read_table()
        return _below(pid, self._parents)

    def _read_table(self) -> None:
        now = self._clock()
        known = self._parents
        if now >= self._next_whole:
            known, self._next_whole = {}, now + self._whole_s
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
