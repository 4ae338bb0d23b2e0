"""Run one child process under a deadline and end its whole process tree, whatever happens."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.processes.adoption import adopting_orphans
from tinyworlds_gate.launch.processes.end import EndedProcess, end_launch
from tinyworlds_gate.launch.processes.find import find_launch
from tinyworlds_gate.launch.processes.guard import MAX_INTERVAL_S, LauncherGuard
from tinyworlds_gate.launch.processes.interrupts import attach_ended, defer_interrupts, raise_on_termination
from tinyworlds_gate.launch.processes.owner import OWNER_VARIABLE, owner_mark
from tinyworlds_gate.launch.processes.tether import Tether
from tinyworlds_gate.launch.processes.watchdog_clock import WatchdogClock
from tinyworlds_gate.launch.redacted_log import RedactedLog
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.disk import reporting_full_disk
from tinyworlds_gate.run.identity import ProcessIdentity, identify
from tinyworlds_gate.run.redact import redact, redact_command
from tinyworlds_gate.targets.base import Target

LOG_TAIL_LINES = 50
POLL_S = 0.2
_TAIL_BYTES = 256 * 1024
_CUT_BYTES = 4 * 1024
_SETTLE_S = 1.0
REAP_S = 5.0


@dataclass(frozen=True)
class ChildResult:
    """How a child ended. ``exit_code`` is None if a signal ended it; ``signal`` is None if it exited by itself.

    ``stopped`` is the reason why the harness ended it, ``ended`` lists every process of
    the launch that the harness had to end, and ``extra`` lists other training processes found meanwhile.
    """

    command: tuple[str, ...]
    exit_code: int | None
    signal: str | None
    wall_s: float
    pid: int
    log: Path
    log_tail: tuple[str, ...]
    stopped: str | None = None
    ended: tuple[EndedProcess, ...] = ()
    extra: tuple[EndedProcess, ...] = ()

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and self.stopped is None

    @property
    def leftovers(self) -> tuple[EndedProcess, ...]:
        """Processes that were still running after the child had ended by itself."""
        return () if self.stopped else self.ended


@dataclass
class ChildProcess:
    """One child with its launch marker, log and process; used by ``run_child`` and ``run_chunk``."""

    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log_path: Path
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    end_all_orphans: bool = False
    pid: int = 0
    log_start: int = 0
    identity: ProcessIdentity | None = None
    _process: subprocess.Popen[bytes] | None = None
    _log: RedactedLog | None = None

    def run(self, on_poll: Callable[[float], str | None], poll_s: Callable[[], float]) -> ChildResult:
        """Start the child and call ``on_poll`` until the child ends or ``on_poll`` returns a reason to end it.

        ``on_poll`` receives the elapsed seconds, without pauses of the harness (``watchdog_clock.py``). If the harness
        dies meanwhile, the tether ends the launch.
        """
        stopped: str | None = None
        began, clock = time.monotonic(), WatchdogClock()
        with raise_on_termination(), defer_interrupts() as raise_pending:
            tether = self._tether()
            with adopting_orphans(self.token, everything=self.end_all_orphans) as adoption:
                try:
                    process = self._start()
                    while stopped is None and not _ended(process, poll_s()):
                        raise_pending()
                        with reporting_full_disk():
                            stopped = on_poll(clock.tick())
                    self._settle(process)
                finally:
                    ended = end_launch(self.token, self.identity, adopted=adoption.orphans)
                    attach_ended(sys.exception(), ended)
                    if self._log is not None:
                        self._log.close()
                    tether.release()
                    self._reap()
        wall_s = round(time.monotonic() - began, 3)
        code = process.returncode
        return ChildResult(
            command=tuple(self.command),
            exit_code=code if code >= 0 else None,
            signal=signal.Signals(-code).name if code < 0 else None,
            wall_s=wall_s,
            pid=self.pid,
            log=self.log_path,
            log_tail=tuple(log_tail(self.log_path, start=self.log_start)),
            stopped=stopped,
            ended=tuple(ended),
        )

    def log_text(self) -> str:
        """Return the end of this child's output (at most 256 KiB)."""
        return "\n".join(log_tail(self.log_path, start=self.log_start, lines=None))

    def _tether(self) -> Tether:
        try:
            return Tether(self.token, self.log_path)
        except OSError as error:
            raise self._cannot_start(error) from error

    def _cannot_start(self, error: OSError) -> LaunchError:
        return LaunchError(
            f"Cannot start {redact_command(self.command)} in {self.cwd}: {error.strerror or error} "
            f"({error.filename or self.log_path}). Check that the file exists and may be executed or written."
        )

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            log = self._log = RedactedLog(self.log_path)
            self.log_start = log.start
            process = subprocess.Popen(
                list(self.command),
                cwd=self.cwd,
                env={**self.env, LAUNCH_VARIABLE: self.token, OWNER_VARIABLE: owner_mark()},
                stdin=subprocess.DEVNULL,
                stdout=log.child_end,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            log.started()
        except OSError as error:
            raise self._cannot_start(error) from error
        self._process = process
        self.pid, self.identity = process.pid, identify(process.pid)
        return process

    def _reap(self) -> None:
        if self._process is not None and not _ended(self._process, REAP_S):
            raise LaunchError(
                f"PID {self.pid} survived SIGKILL (it hangs in the kernel: a GPU driver or a network disk?). "
                f"Check /proc/{self.pid}/stack; restart the machine if the process stays."
            )

    def _settle(self, process: subprocess.Popen[bytes]) -> None:
        """Give helper processes of an ended child (a resource tracker) a moment to exit by themselves."""
        deadline = time.monotonic() + _SETTLE_S
        while process.poll() is not None and time.monotonic() < deadline and find_launch(self.token, session=self.pid):
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
    exclusive_target: Target | None = None,
    cleanup_extra: bool = True,
    guard_interval_s: float = MAX_INTERVAL_S,
    end_all_orphans: bool = False,
) -> ChildResult:
    """Run a command (inference, L6) with its output in ``log_path``; end it after ``deadline_s``.

    ``on_poll`` is called with the seconds since the start. With ``exclusive_target``, no training of that project may
    run beside the child: extra processes are ended (or, without ``cleanup_extra``, only recorded) and returned as
    ``extra`` (L2). With ``end_all_orphans`` nothing that the child started stays, editors and shells neither.

    Raises ``LaunchError`` if the command cannot be started. KeyboardInterrupt and SIGTERM of the harness end the
    child's whole tree and are raised again.
    """
    child = ChildProcess(command, Path(cwd), env, Path(log_path), end_all_orphans=end_all_orphans)
    guard = (
        None
        if exclusive_target is None
        else LauncherGuard(exclusive_target, child.token, lambda: child.identity, guard_interval_s, cleanup_extra)
    )

    def poll(elapsed_s: float) -> str | None:
        if on_poll is not None:
            on_poll(elapsed_s)
        if guard is not None:
            guard.check_if_due()
        return f"it ran longer than {deadline_s:g} s" if elapsed_s >= deadline_s else None

    result = child.run(poll, lambda: poll_s)
    if guard is None:
        return result
    guard.check()
    return replace(result, extra=tuple(guard.extra.values()))


def log_tail(path: Path, *, start: int = 0, lines: int | None = LOG_TAIL_LINES) -> list[str]:
    """Return the last lines of a log from byte ``start`` on, redacted; of a progress bar only its last state."""
    with open(path, "rb") as file:
        begin = max(start, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
        file.seek(begin)
        data = file.read(_TAIL_BYTES)
    if begin > start:  # the first line is cut: a secret of which the start is missing would not be recognised
        data = data[data.find(b"\n", 0, -1) + 1 or _CUT_BYTES :]
    content = data.decode("utf-8", errors="replace").rstrip("\n")
    shown = (line.rstrip("\r").rpartition("\r")[2] for line in content.split("\n"))
    found = redact("\n".join(shown)).split("\n")
    return (found if lines is None else found[-lines:]) if content.strip() else []


def _ended(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    """Wait at most this long for a process to end, by pidfd where available (`subprocess` would poll)."""
    if process.poll() is not None:
        return True
    with suppress(OSError, AttributeError):  # not Linux, or too old for it
        file = os.pidfd_open(process.pid)
        try:
            waiting = select.poll()
            waiting.register(file, select.POLLIN)
            waiting.poll(1000 * wait_s)
        finally:
            os.close(file)
        return process.poll() is not None
    try:
        process.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True
