"""Runs one child to its end under a deadline; whatever happens, nothing of it stays alive."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.command import LAUNCH_VARIABLE
from tinyworlds_gate.launch.ending import EndedProcess, end_launch
from tinyworlds_gate.launch.interrupts import interrupts_wait, termination_raises
from tinyworlds_gate.launch.processes import find_launch
from tinyworlds_gate.run.redact import redact, redact_command

LOG_TAIL_LINES = 50
POLL_S = 0.2
_TAIL_BYTES = 256 * 1024
_SETTLE_S = 1.0
REAP_S = 5.0


@dataclass(frozen=True)
class ChildResult:
    """How a child ended. ``exit_code`` is None when a signal ended it, ``signal`` is None when it exited itself.

    ``stopped`` is the reason for which the harness ended it (``timed_out`` then says whether time was up), and
    ``left_over`` what the child had left running.
    """

    command: tuple[str, ...]
    exit_code: int | None
    signal: str | None
    wall_s: float
    timed_out: bool
    pid: int
    log: Path
    log_tail: tuple[str, ...]
    stopped: str | None = None
    left_over: tuple[EndedProcess, ...] = ()

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and self.stopped is None


@dataclass
class Supervised:
    """One child: its marker, its log and its process; used by ``run_child`` and ``run_chunk``."""

    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log_path: Path
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    pid: int = 0
    log_start: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def run(self, on_poll: Callable[[float], str | None], poll_s: float) -> ChildResult:
        """Start it, call ``on_poll`` (seconds since the start) until it ends or a reason to end it comes back."""
        stopped: str | None = None
        began = time.monotonic()
        with termination_raises():
            try:
                process = self._start()
                while stopped is None and not _ended(process, poll_s):
                    stopped = on_poll(time.monotonic() - began)
                self._settle(process)
            finally:
                with interrupts_wait():
                    ended = end_launch(self.token, self.pid)
                    self._reap()
        wall_s = round(time.monotonic() - began, 3)
        code = process.returncode
        return ChildResult(
            command=tuple(self.command),
            exit_code=code if code >= 0 else None,
            signal=signal.Signals(-code).name if code < 0 else None,
            wall_s=wall_s,
            timed_out=stopped is not None,
            pid=self.pid,
            log=self.log_path,
            log_tail=tuple(log_tail(self.log_path, start=self.log_start)),
            stopped=stopped,
            left_over=() if stopped else tuple(ended),
        )

    def log_text(self) -> str:
        """The end of what this child wrote (at most 256 KiB)."""
        return "\n".join(log_tail(self.log_path, start=self.log_start, lines=None))

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.log_path, "ab") as log:
                self.log_start = log.tell()
                process = subprocess.Popen(
                    list(self.command),
                    cwd=self.cwd,
                    env={**self.env, LAUNCH_VARIABLE: self.token},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise LaunchError(
                f"Cannot start {redact_command(self.command)} in {self.cwd}: {error.strerror or error} "
                f"({error.filename or self.log_path}). Check that the file exists and may be executed or written."
            ) from error
        self._process = process
        self.pid = process.pid
        return process

    def _reap(self) -> None:
        if self._process is not None and not _ended(self._process, REAP_S):
            raise LaunchError(
                f"PID {self.pid} survived SIGKILL (it hangs in the kernel: a GPU driver or a network disk?). "
                f"Look at /proc/{self.pid}/stack and restart the machine if it stays."
            )

    def _settle(self, process: subprocess.Popen[bytes]) -> None:
        """Helpers of a child that has ended (a resource tracker) get a moment to go by themselves."""
        deadline = time.monotonic() + _SETTLE_S
        while process.poll() is not None and time.monotonic() < deadline and find_launch(self.token):
            time.sleep(0.05)


def run_child(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log_path: Path,
    deadline_s: float,
    on_poll: Callable[[float], None] | None = None,
    poll_s: float = POLL_S,
) -> ChildResult:
    """Run a command (inference, L6) with its output in ``log_path``; past ``deadline_s`` it is ended.

    ``on_poll`` is called with the seconds since the start. Raises ``LaunchError`` when it cannot be started;
    KeyboardInterrupt and SIGTERM of the harness end the child's whole tree and are raised again.
    """

    def poll(wall_s: float) -> str | None:
        if on_poll is not None:
            on_poll(wall_s)
        return f"it ran longer than {deadline_s:g} s" if wall_s >= deadline_s else None

    return Supervised(command, Path(cwd), env, Path(log_path)).run(poll, poll_s)


def log_tail(path: Path, *, start: int = 0, lines: int | None = LOG_TAIL_LINES) -> list[str]:
    """The last lines of a log from byte ``start`` on, secrets redacted; of a progress bar only its last state."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _TAIL_BYTES))
        content = file.read().decode("utf-8", errors="replace")
    found = [redact(line.rstrip("\r").rpartition("\r")[2]) for line in content.rstrip("\n").split("\n")]
    return (found if lines is None else found[-lines:]) if content.strip() else []


class Failure(Protocol):
    """What ``ChildResult`` and ``ChunkResult`` both tell of a child."""

    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def signal(self) -> str | None: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def stopped(self) -> str | None: ...
    @property
    def log(self) -> Path: ...
    @property
    def log_tail(self) -> tuple[str, ...]: ...


def failure_text(result: Failure) -> str:
    """What a person needs to know of a failed child: command, end, duration, last lines, the log's path (style 7)."""
    how = f"was ended by {result.signal}" if result.signal else f"exited with code {result.exit_code}"
    if result.stopped:
        how = f"was stopped by the harness since {result.stopped}; it {how}"
    tail = "\n".join(f"    {line}" for line in result.log_tail[-LOG_TAIL_LINES:]) or "    (it wrote nothing)"
    command = redact_command(result.command)
    return f"{command}\n{how} after {result.wall_s:.1f} s. Its last lines:\n{tail}\nThe whole log: {result.log}"


def _ended(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        process.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True
