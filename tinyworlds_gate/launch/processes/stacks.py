"""What a worker that hangs is doing: its state in the kernel, and its Python stacks in the log."""

from __future__ import annotations

import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tinyworlds_gate.launch.processes.end import ENDED, EndedProcess, send
from tinyworlds_gate.launch.processes.find import facts_of
from tinyworlds_gate.run.heartbeat import STACK_SIGNAL
from tinyworlds_gate.run.identity import ProcessIdentity

_STATES = {
    psutil.STATUS_STOPPED: "is stopped (SIGSTOP)",
    psutil.STATUS_TRACING_STOP: "is held by a debugger",
    psutil.STATUS_DISK_SLEEP: "waits in the kernel (a disk, a network file system or a driver)",
}


def states_text(ranks: Mapping[int, int | None]) -> str:
    """``; rank 1 (PID 77) is stopped (SIGSTOP)`` for each process whose state explains a hang, else nothing.

    ``ranks``: PID → rank, or None where it is not known.
    """
    told = []
    for pid, rank in ranks.items():
        with suppress(psutil.Error):
            state = _STATES.get(psutil.Process(pid).status())
            if state is not None:
                told.append(f"; {'a worker' if rank is None else f'rank {rank}'} (PID {pid}) {state}")
    return "".join(told)


def ask_for_stacks(identity: ProcessIdentity, *, on_signal: bool, aborted: list[EndedProcess]) -> bool:
    """Have a worker print the stacks of all its threads; returns whether it was asked.

    ``on_signal``: it said in its heartbeats that SIGUSR1 prints them. Every other Python worker of ours runs with
    ``PYTHONFAULTHANDLER``, which prints them on SIGABRT and then ends it; it was about to be ended anyway, and its
    record is added to ``aborted``. A worker that does not catch that signal is left alone, and a stopped one is woken
    up, since it prints only while it runs.
    """
    if not on_signal and not _catches(identity.pid, signal.SIGABRT):
        return False
    number = STACK_SIGNAL if on_signal else signal.SIGABRT
    with suppress(PermissionError, psutil.Error):
        process = psutil.Process(identity.pid)
        facts = facts_of(process)
        if not on_signal:
            _without_core_dump(identity.pid)
        if facts is None or not send(identity, number):
            return False
        if not on_signal:
            aborted.append(EndedProcess(facts.pid, facts.age_s, facts.cmdline, number.name, ENDED))
        if process.status() == psutil.STATUS_STOPPED:
            send(identity, signal.SIGCONT)
        return True
    return False


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, by the mask in /proc; False where there is none to read."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _without_core_dump(pid: int) -> None:
    """A core file of a GPU worker would fill the disk."""
    if hasattr(resource, "prlimit"):
        with suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, hard))
