"""Identify a process by its PID and start time, so that a reused PID is not taken for the old process."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

import psutil

from tinyworlds_gate.run.process_stat import HAS_PROC, process_stat


@dataclass(frozen=True)
class ProcessIdentity:
    """A PID and the start of that process (see ``process_start``)."""

    pid: int
    start: float

    def is_alive(self) -> bool:
        """True while this very process exists and is no zombie."""
        if not HAS_PROC:
            return process_start(self.pid) == self.start and not is_zombie(self.pid)
        stat = process_stat(self.pid)
        return stat is not None and stat.start_s == self.start and not stat.ended

    @property
    def age_s(self) -> float:
        """Seconds since the process started, by the boot-time clock where there is one."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME) if HAS_PROC else time.time()
        return max(0.0, now - self.start)


def process_start(pid: int) -> float | None:
    """Start of a process in seconds, None when it does not exist.

    On Linux seconds since boot, which a stepped wall clock does not move (psutil's creation time does move);
    elsewhere psutil's creation time. Compare only values of one machine and boot.
    """
    if not HAS_PROC:
        try:
            return psutil.Process(pid).create_time()
        except psutil.Error:
            return None
    stat = process_stat(pid)
    return None if stat is None else stat.start_s


def is_zombie(pid: int) -> bool:
    """True for a process that has ended and only waits to be reaped."""
    if HAS_PROC:
        stat = process_stat(pid)
        return stat is not None and stat.ended
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
