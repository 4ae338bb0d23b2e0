"""Run a command under its time budget and end every process that it started, also those that left its session.

The harness adopts the orphans of its children (Linux), so that each process of the command stays below the harness in
the process tree, whatever it forks, and whichever session and environment it takes. No other process is ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.budget import confine
from tinyworlds_gate.budget.contract import warning_after
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.child import ChildProcess
from tinyworlds_gate.launch.processes.end import send
from tinyworlds_gate.launch.processes.tree import descendants
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.identity import ProcessIdentity, identify

LATE_S = 2.0
"""How long after the budget the last process may end: SIGKILL takes a moment."""
END_WAIT_S = 20.0
DISK_RESERVE = 200 * 2**20
"""Bytes; with less left the command is ended."""
_POLL_S, _DISK_POLL_S = 0.1, 1.0


@dataclass(frozen=True)
class Limits:
    """What a command may use: seconds, and bytes of one file.

    ``writable`` and ``hidden`` are paths that it can write below and cannot read, with ``landlock``. ``alone``: it has
    no network but the loopback device.
    """

    seconds: float
    file_bytes: int
    writable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    landlock: bool = False
    alone: bool = False


@dataclass(frozen=True)
class CommandEnd:
    """How a command ended.

    ``used_s`` is the time from its start until its last process was gone, by the harness's monotonic clock.
    ``left_behind`` counts processes that were still running when the command itself had ended.
    """

    used_s: float
    exit_code: int | None
    signal: str | None
    ended_by: str
    """`itself`, or `the deadline`: SIGTERM shortly before it, or SIGKILL."""
    left_behind: int
    problem: str | None
    """Why nothing of it is judged, a sentence; None otherwise."""


def run_command(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, limits: Limits, disk: Path
) -> CommandEnd:
    """Run ``command`` for at most ``limits.seconds``; when this returns, none of its processes is alive.

    Raises:
        LaunchError: it cannot be started, or a process survived SIGKILL.
    """
    asked = {
        "landlock": limits.landlock,
        "alone": limits.alone,
        "file_bytes": limits.file_bytes,
        "writable": [str(one) for one in limits.writable],
        "hidden": [str(one) for one in limits.hidden],
    }
    confined = [sys.executable, "-I", "-S", confine.__file__, json.dumps(asked), "--", *command]
    child = ChildProcess(confined, cwd, env, log)
    earlier = {one for pid in descendants(os.getpid()) if (one := identify(pid)) is not None}
    watch = _Watch(child, limits.seconds, disk, earlier)
    try:
        result = child.run(watch.poll, watch.poll_s)
    finally:
        others = end_descendants(earlier)
    left_behind = len(result.leftovers) + others
    used_s = round(time.monotonic() - watch.began, 3)
    _reap(earlier)
    by_deadline = result.stopped == AT_DEADLINE or (watch.warned and result.signal == "SIGTERM")
    return CommandEnd(
        used_s=used_s,
        exit_code=result.exit_code,
        signal=result.signal,
        ended_by="the deadline" if by_deadline else "itself",
        left_behind=0 if result.stopped else left_behind,
        problem=_problem(result.stopped, used_s, limits.seconds, result.exit_code, result.log_tail),
    )


AT_DEADLINE = "its time was over"


def _problem(
    stopped: str | None, used_s: float, seconds: float, exit_code: int | None, log_tail: Sequence[str]
) -> str | None:
    if stopped not in (None, AT_DEADLINE):
        return stopped
    if used_s > seconds + LATE_S:
        return (
            f"the command and the processes that it started ran for {used_s:.1f} s, but the budget is {seconds:g} s: "
            "end all of them in time"
        )
    refused = next((line for line in log_tail if line.startswith(confine.NOT_CONFINED)), None)
    if exit_code == confine.CANNOT_CONFINE and refused is not None:
        return f"{refused.removeprefix('[budget] ')}; --without-landlock runs it with less protection"
    return None


class _Watch:
    """Called while the command runs: warns it, ends it at the deadline, and when it fills the disk."""

    def __init__(self, child: ChildProcess, seconds: float, disk: Path, spare: Collection[ProcessIdentity]) -> None:
        self.began = time.monotonic()
        self._child, self._seconds, self._disk, self._spare = child, seconds, disk, spare
        self._warn_at, self.warned = warning_after(seconds), False
        self._look_at_disk_s = 0.0

    def poll_s(self) -> float:
        remaining = self._seconds - (time.monotonic() - self.began)
        return max(0.001, min(_POLL_S, remaining))

    def poll(self, _elapsed_s: float) -> str | None:
        """Return why the command is to end; None while it may go on."""
        elapsed_s = time.monotonic() - self.began
        if elapsed_s >= self._seconds:
            end_descendants(self._spare)
            return AT_DEADLINE
        if not self.warned and elapsed_s >= self._warn_at:
            self.warned = True
            for pid in {self._child.pid, *descendants(self._child.pid)}:
                if (one := identify(pid)) is not None:
                    with suppress(PermissionError):
                        send(one, signal.SIGTERM)
        if elapsed_s >= self._look_at_disk_s:
            self._look_at_disk_s = elapsed_s + _DISK_POLL_S
            free = shutil.disk_usage(self._disk).free
            if free < DISK_RESERVE:
                end_descendants(self._spare)
                return (
                    f"the command was ended because the disk of {self._disk} is nearly full ({size_text(free)} left, "
                    f"{size_text(DISK_RESERVE)} are needed): write less, or free space"
                )
        return None


def end_descendants(spare: Collection[ProcessIdentity]) -> int:
    """End all processes below this one except ``spare`` with SIGKILL; return how many there were.

    Raises:
        LaunchError: one is alive after END_WAIT_S.
    """
    ended: set[ProcessIdentity] = set()
    deadline = time.monotonic() + END_WAIT_S
    clear = 0
    while clear < 2:  # a process can change its parent while the table is read
        alive = _alive_below(spare)
        clear = 0 if alive else clear + 1
        for one in alive:
            with suppress(PermissionError):
                send(one, signal.SIGKILL)
        ended |= alive
        if alive and time.monotonic() > deadline:
            raise LaunchError(
                f"PID {min(one.pid for one in alive)}, which the command started, is still alive {END_WAIT_S:g} s "
                "after SIGKILL: it hangs in the kernel (a GPU driver, a network disk) or runs as another user; end it "
                "yourself. Nothing was judged."
            )
        if alive:
            time.sleep(0.01)
    return len(ended)


def _alive_below(spare: Collection[ProcessIdentity]) -> set[ProcessIdentity]:
    found = {identify(pid) for pid in descendants(os.getpid())}
    return {one for one in found if one is not None and one not in spare and one.is_alive()}


def _reap(spare: Collection[ProcessIdentity]) -> None:
    """Reap adopted orphans, of which no object of `subprocess` knows."""
    for pid in descendants(os.getpid()):
        if (one := identify(pid)) is not None and one not in spare:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
