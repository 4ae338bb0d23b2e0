"""Diagnose a hanging worker: its process state, and its Python stacks in the log."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tinyworlds_gate.launch.processes.end import ENDED, EndedProcess, send
from tinyworlds_gate.launch.processes.find import facts_of
from tinyworlds_gate.launch.processes.python_stack import Frame, Stack
from tinyworlds_gate.run.heartbeat import STACK_SIGNAL
from tinyworlds_gate.run.identity import ProcessIdentity

_THREAD = re.compile(r"(Current thread|Thread) 0x[0-9a-f]+ .*\(most recent call first\):")
_FRAME = re.compile(r'  File "(?P<file>[^"]*)", line \d+ in (?P<name>.+)$')
_STATES = {
    psutil.STATUS_STOPPED: "is stopped (SIGSTOP)",
    psutil.STATUS_TRACING_STOP: "is held by a debugger",
    psutil.STATUS_DISK_SLEEP: "waits in the kernel (a disk, a network file system or a driver)",
}


def states_text(ranks: Mapping[int, int | None]) -> str:
    """Return ``; rank 1 (PID 77) is stopped (SIGSTOP)`` for each process whose state explains a hang.

    ``ranks``: PID → rank, or None if unknown.
    """
    parts = []
    for pid, rank in ranks.items():
        with suppress(psutil.Error):
            state = _STATES.get(psutil.Process(pid).status())
            if state is not None:
                parts.append(f"; {'a worker' if rank is None else f'rank {rank}'} (PID {pid}) {state}")
    return "".join(parts)


def is_held(pid: int) -> bool:
    """Whether somebody stopped a process (SIGSTOP) or holds it in a debugger."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def request_stacks(identity: ProcessIdentity, *, on_signal: bool, aborted: list[EndedProcess]) -> bool:
    """Have a worker print the stacks of all its threads; return whether a signal was sent.

    ``on_signal``: its heartbeats announce that SIGUSR1 prints them. Other Python workers of ours run with
    ``PYTHONFAULTHANDLER``, which prints them on SIGABRT and ends the process; it would be ended anyway, and its record
    is added to ``aborted``. A worker that does not catch SIGABRT gets no signal. A stopped worker is resumed, since it
    prints only while it runs.
    """
    if not on_signal and not _catches(identity.pid, signal.SIGABRT):
        return False
    number = STACK_SIGNAL if on_signal else signal.SIGABRT
    with suppress(PermissionError, psutil.Error):
        process = psutil.Process(identity.pid)
        facts = facts_of(process)
        if not on_signal:
            _disable_core_dump(identity.pid)
        if facts is None or not send(identity, number):
            return False
        if not on_signal:
            aborted.append(EndedProcess(facts.pid, facts.age_s, facts.cmdline, number.name, ENDED))
        if process.status() == psutil.STATUS_STOPPED:
            send(identity, signal.SIGCONT)
        return True
    return False


def dumped_stack(text: str) -> Stack:
    """Return the stack of the main thread from what faulthandler printed: its last thread; empty without one."""
    stack: list[Frame] = []
    for line in text.splitlines():
        if _THREAD.match(line):
            stack = []
        elif (found := _FRAME.match(line)) is not None:
            stack.append(Frame(found["file"], found["name"]))
    return tuple(stack)


def _catches(pid: int, number: int) -> bool:
    """Whether a process handles a signal, by its mask in /proc; False if that cannot be read."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _disable_core_dump(pid: int) -> None:
    """Disable core dumps: that of a GPU worker could fill the disk."""
    if hasattr(resource, "prlimit"):
        with suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, hard))
