"""The record in a project's lock file: which process holds it, and of which machine, boot and PID namespace."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.run.identity import ProcessIdentity, host_name, own_identity
from tinyworlds_gate.run.timestamps import timestamp

_LONGEST_RECORD = 65536
_LATEST_TIME_S = 1e11
"""Unix seconds; a later time in the lock file is invalid."""


def boot_id() -> str | None:
    """The kernel's name of this boot, which no other machine has; None without /proc."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def pid_namespace() -> int | None:
    """The inode of this process's PID namespace; None without /proc."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


@dataclass(frozen=True)
class LockHolder:
    """Who holds a project: written into the lock file.

    A PID means something in one PID namespace of one boot of one machine. A holder from elsewhere counts as alive.
    """

    pid: int
    start: float
    host: str
    since: float
    run: str | None
    boot: str | None = None
    """None in lock files of older versions, and without /proc; then the host's name decides."""
    pid_namespace: int | None = None

    @staticmethod
    def of_this_process(since: float, run: str | None) -> LockHolder:
        """The record of this process."""
        me = own_identity()
        return LockHolder(me.pid, me.start, host_name(), since, run, boot_id(), pid_namespace())

    def describe(self) -> str:
        """``PID 77 on host, started 2026_01_02_03_04_05, run a``."""
        run = f", run {self.run}" if self.run else ""
        return f"PID {self.pid} on {self.host}, started {timestamp(self.since)}{run}"

    @property
    def is_foreign(self) -> bool:
        """Whether it is a process of another machine, boot or PID namespace, about which nothing is known here."""
        if self.boot is None:
            return self.host != host_name()
        return (self.boot, self.pid_namespace) != (boot_id(), pid_namespace())

    @property
    def is_this_process(self) -> bool:
        """Whether it is this process itself."""
        return not self.is_foreign and ProcessIdentity(self.pid, self.start) == own_identity()

    def is_alive(self) -> bool:
        """False only for a process of this machine that has ended."""
        return self.is_foreign or ProcessIdentity(self.pid, self.start).is_alive()

    def is_dead(self) -> bool:
        """Known to be gone: it was a process of this machine."""
        return not self.is_alive()


def read_holder(descriptor: int) -> LockHolder | None:
    """Return the holder in a lock file; None for an empty or invalid one."""
    try:
        record: Any = json.loads(os.pread(descriptor, _LONGEST_RECORD, 0))
    except (ValueError, RecursionError):
        return None
    kinds = {"pid": int, "start": float | int, "host": str, "since": float | int, "run": str | None}
    newer = {"boot": str | None, "pid_namespace": int | None}
    if not isinstance(record, dict) or record.keys() | newer.keys() != kinds.keys() | newer.keys():
        return None
    right = all(isinstance(record.get(name), kind) for name, kind in {**kinds, **newer}.items())
    return LockHolder(**record) if right and 0 <= record["since"] < _LATEST_TIME_S else None
