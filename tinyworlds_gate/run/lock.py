"""Allow one harness run per project: an flock, which the kernel drops when its holder dies, with the holder's PID."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.identity import ProcessIdentity, host_name, own_identity
from tinyworlds_gate.run.timestamps import timestamp

_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_READ_TRIES = 20
_POLL_S = 0.02
_RELEASE_WAIT_S = 3.0
_LONGEST_RECORD = 65536
_LATEST_TIME_S = 1e11
"""Unix seconds; a later time in the lock file is invalid."""


@dataclass(frozen=True)
class LockHolder:
    """Who holds a project: written into the lock file."""

    pid: int
    start: float
    host: str
    since: float
    run: str | None

    def describe(self) -> str:
        """``PID 77 on host, started 2026_01_02_03_04_05, run a``."""
        run = f", run {self.run}" if self.run else ""
        return f"PID {self.pid} on {self.host}, started {timestamp(self.since)}{run}"

    def is_alive(self) -> bool:
        return self.host == host_name() and ProcessIdentity(self.pid, self.start).is_alive()

    def is_dead(self) -> bool:
        """Known to be gone: it was a process of this machine."""
        return self.host == host_name() and not self.is_alive()


class ProjectLock:
    """The lock of a project (the real path of its root), used as a context manager.

    ``taken_over`` is the dead run that had left its lock behind. Raises ``LaunchError`` at once when
    another live harness holds the project (L2, H5).
    """

    def __init__(self, project_root: Path, *, run: str | None = None) -> None:
        self.project_root = Path(project_root).resolve()
        self.path = self.project_root / "results" / ".tinyworlds_gate.lock"
        self.run = run
        self.taken_over: LockHolder | None = None
        self._fd = -1

    def acquire(self) -> ProjectLock:
        """Take the lock or raise ``LaunchError`` naming its holder."""
        if self._fd >= 0:
            raise LaunchError(f"This process already holds the project {self.project_root}.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._fd < 0:
                self._fd = self._try()
        except OSError as error:
            raise LaunchError(
                f"Cannot write the lock file {self.path}: {error.strerror}. Make the results folder writable and free "
                "its disk, or remove the file that is there."
            ) from error
        os.register_at_fork(after_in_child=self._forget_in_child)
        return self

    def _try(self) -> int:
        """Return the descriptor with the lock held, or -1 when the file was removed meanwhile."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            supported = self._flock(fd)
            if not is_still_at(fd, self.path):
                os.close(fd)
                return -1
            holder = _read_holder(fd)
            if not supported and holder is not None and holder.is_alive():
                raise self._refusal(holder)
            self.taken_over = holder
            self._write_holder(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def release(self) -> None:
        """Give the project back; the emptied lock file stays (removing it would race with the next run)."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> ProjectLock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _flock(self, fd: int) -> bool:
        """True with the lock held, False where the file system has no locks (then PID and start decide alone)."""
        deadline = time.monotonic() + _RELEASE_WAIT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError as error:
                holder = _wait_for_holder(fd)
                # A child that a dead holder had just forked may keep the lock for another moment.
                if holder is None or not holder.is_dead() or time.monotonic() >= deadline:
                    raise self._refusal(holder) from error
                time.sleep(_POLL_S)
            except OSError as error:
                if error.errno not in _NO_FLOCK:
                    raise
                return False

    def _write_holder(self, fd: int) -> None:
        me = own_identity()
        holder = LockHolder(pid=me.pid, start=me.start, host=host_name(), since=time.time(), run=self.run)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(holder)).encode(), 0)
        os.fsync(fd)

    def _refusal(self, holder: LockHolder | None) -> LaunchError:
        if holder is None:
            who, fix = "by a process that has not written its name yet", "Try again in a moment."
        elif holder.is_dead():
            who = f"by a process that {holder.describe()}, had started before it died"
            fix = f"Find it with `fuser {self.path}` and end it."
        else:
            who = f"by {holder.describe()}"
            fix = f"Wait until it ends, or end it with: kill {holder.pid}"
        return LaunchError(f"Another run of the project {self.project_root} is active, {who}. {fix}")

    def _forget_in_child(self) -> None:
        """A forked child must not keep the lock alive after its parent died."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def live_holder(project_root: Path) -> LockHolder | None:
    """Return who runs in the project now, by its lock file; the lock itself is not touched."""
    try:
        fd = os.open(ProjectLock(project_root).path, os.O_RDONLY)
    except OSError:
        return None
    try:
        holder = _read_holder(fd)
    finally:
        os.close(fd)
    return holder if holder is not None and holder.is_alive() else None


def _wait_for_holder(fd: int) -> LockHolder | None:
    """Return the holder, which is written a moment after the lock was taken."""
    for _ in range(_READ_TRIES):
        holder = _read_holder(fd)
        if holder is not None:
            return holder
        time.sleep(_POLL_S)
    return None


def _read_holder(fd: int) -> LockHolder | None:
    """Return the holder in the file; None for an empty or invalid one."""
    try:
        record: Any = json.loads(os.pread(fd, _LONGEST_RECORD, 0))
    except (ValueError, RecursionError):
        return None
    kinds = {"pid": int, "start": float | int, "host": str, "since": float | int, "run": str | None}
    if not isinstance(record, dict) or record.keys() != kinds.keys():
        return None
    right = all(isinstance(record[name], kind) for name, kind in kinds.items())
    return LockHolder(**record) if right and 0 <= record["since"] < _LATEST_TIME_S else None


def is_still_at(fd: int, path: Path) -> bool:
    """Return whether an open file or folder is the one at the path now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
