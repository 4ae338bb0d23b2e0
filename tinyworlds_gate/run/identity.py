"""Which process is meant: a PID together with its start, so that a reused PID is never taken for the old process."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc/self/stat").exists()
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessIdentity:
    """A PID and the start of that process (see ``process_start``)."""

    pid: int
    start: float

    def is_alive(self) -> bool:
        """True while this very process exists and is no zombie."""
        return process_start(self.pid) == self.start and not is_zombie(self.pid)

    @property
    def age_s(self) -> float:
        """Seconds since the process started, by a clock that nobody steps where there is one."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME) if _PROC else time.time()
        return max(0.0, now - self.start)


def process_start(pid: int) -> float | None:
    """Start of a process in seconds, None when it does not exist.

    On Linux seconds since boot, which a stepped wall clock does not move (psutil's creation time does move);
    elsewhere psutil's creation time. Compare only values of one machine and boot.
    """
    if not _PROC:
        try:
            return psutil.Process(pid).create_time()
        except psutil.Error:
            return None
    fields = _stat_fields(pid)
    return None if fields is None else int(fields[19]) / _TICKS_PER_S


def is_zombie(pid: int) -> bool:
    """True for a process that has ended and only waits to be reaped."""
    if _PROC:
        fields = _stat_fields(pid)
        return fields is not None and fields[0] in ("Z", "X")
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this PID now, None when there is none."""
    start = process_start(pid)
    return None if start is None else ProcessIdentity(pid, start)


def own_identity() -> ProcessIdentity:
    """The identity of this process."""
    identity = identify(os.getpid())
    if identity is None:
        raise RuntimeError("the process table does not show this process")
    return identity


def host_name() -> str:
    """This machine's name (PIDs mean something on one machine only)."""
    return socket.gethostname()


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command's name (which may hold blanks and brackets)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
