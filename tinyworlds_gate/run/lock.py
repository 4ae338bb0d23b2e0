"""Allow one harness run per project: flocks, which the kernel drops when their holder dies, and the holder's record.

The rule. A run holds an flock on the project's folder and one on its lock file; the file also has its record. The
folder's lock keeps a second run out if the file is removed or replaced.

- On a file system of this machine alone, the locks decide: once nobody holds them, the holder is dead.
- Elsewhere (NFS, Lustre, FUSE), flock may be missing or known to this machine only, so the record decides too. A holder
  of this boot and PID namespace is alive if its process is. Any other holder counts as alive until a person removes
  the lock file.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.file_system import file_system, is_local
from tinyworlds_gate.run.flock import is_still_at, try_flock
from tinyworlds_gate.run.lock_holder import LockHolder, read_holder
from tinyworlds_gate.run.owned import owned_folder

_READ_TRIES = 20
_POLL_S = 0.02
_RELEASE_WAIT_S = 3.0
_PROBE_WAIT_S = 0.2
"""`live_holder` may hold a lock for a moment."""


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
        self._fd = self._folder_fd = -1
        self._folder_locked = False

    def acquire(self) -> ProjectLock:
        """Take the lock or raise ``LaunchError`` naming its holder."""
        if self._fd >= 0:
            raise LaunchError(f"This process already holds the project {self.project_root}.")
        try:
            owned_folder(self.project_root, self.path.parent)
            self._folder_fd = os.open(self.project_root, os.O_RDONLY | os.O_DIRECTORY)
            while self._fd < 0:
                self._fd = self._try()
        except OSError as error:
            self._close()
            raise LaunchError(
                f"Cannot write the lock file {self.path}: {error.strerror}. Make the results folder writable and free "
                "its disk, or remove the file that is there."
            ) from error
        except BaseException:
            self._close()
            raise
        os.register_at_fork(after_in_child=self._close)
        return self

    def confirm(self) -> None:
        """Check that the lock file is still the one that this process holds; write a removed one again.

        Raises:
            LaunchError: it was removed or replaced, and no other lock keeps a second run out.
        """
        if self._fd < 0 or is_still_at(self._fd, self.path):
            return
        if self._folder_locked:
            try:
                descriptor = self._open()
                if try_flock(descriptor):
                    self._write_holder(descriptor)
                    os.close(self._fd)
                    self._fd = descriptor
                    return
                os.close(descriptor)
            except OSError:
                pass
        raise LaunchError(
            f"The lock file {self.path} was removed or replaced while this run holds it, so another run of the project "
            "may have begun. Nothing more is started. Go on with --resume-run once no other run is active "
            "(`tinyworlds-gate runs` lists them)."
        )

    def release(self) -> None:
        """Give the project back; the emptied lock file stays (removing it would race with the next run)."""
        if self._fd >= 0:
            with suppress(OSError):  # a record that stays names a process without a lock, which soon ends
                os.ftruncate(self._fd, 0)
            self._close()

    def __enter__(self) -> ProjectLock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)

    def _try(self) -> int:
        """Return the descriptor with the locks held, or -1 when the file was removed meanwhile."""
        descriptor = self._open()
        try:
            self._folder_locked = self._flock(self._folder_fd, descriptor)
            locked = self._flock(descriptor, descriptor)
            if not is_still_at(descriptor, self.path):
                os.close(descriptor)
                return -1
            holder = read_holder(descriptor)
            if holder is not None and holder.is_alive() and not holder.is_this_process:
                decided = holder.is_foreign and locked and is_local(self.path)
                if not decided:
                    raise self._refusal(holder)
            self._write_holder(descriptor)
            self.taken_over = holder
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _flock(self, target: int, lock_file: int) -> bool:
        """True with the lock held, False where the file system has no locks (then the record alone decides)."""
        began = time.monotonic()
        while True:
            try:
                return try_flock(target)
            except BlockingIOError as error:
                holder = _wait_for_holder(lock_file)
                replaced = target == self._folder_fd and _is_free(lock_file)
                # A child that a dead holder had just forked may keep the lock for another moment.
                if replaced or (holder is not None and holder.is_foreign):
                    patience = _PROBE_WAIT_S
                else:
                    patience = _RELEASE_WAIT_S if holder is not None and holder.is_dead() else 0.0
                if time.monotonic() - began >= patience:
                    raise (self._refusal_without_record() if replaced else self._refusal(holder)) from error
                time.sleep(_POLL_S)

    def _write_holder(self, descriptor: int) -> None:
        record = json.dumps(asdict(LockHolder.of_this_process(time.time(), self.run))).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, record, 0)
        os.fsync(descriptor)

    def _refusal(self, holder: LockHolder | None) -> LaunchError:
        if holder is None:
            who, fix = "by a process that has not written its name yet", "Try again in a moment."
        elif holder.is_dead():
            who = f"by a process that {holder.describe()}, had started before it died"
            fix = f"Find it with `fuser {self.path}` and end it."
        elif holder.is_foreign:
            who = f"by {holder.describe()}, of another machine, boot or PID namespace"
            fix = (
                f"Whether it lives cannot be seen from here (file system: {file_system(self.path) or 'unknown'}). End "
                f"it there; if it is gone, remove {self.path} and start again."
            )
        else:
            who = f"by {holder.describe()}"
            fix = f"Wait until it ends, or end it with: kill {holder.pid}"
        return LaunchError(f"Another run of the project {self.project_root} is active, {who}. {fix}")

    def _refusal_without_record(self) -> LaunchError:
        return LaunchError(
            f"Another run of the project {self.project_root} is active, and its lock file {self.path} was removed or "
            f"replaced. Find it with `fuser {self.project_root}` or `tinyworlds-gate runs`; wait until it ends, or end "
            "it."
        )

    def _close(self) -> None:
        """Close both descriptors; in a forked child, so that it does not keep the lock after its parent died."""
        for descriptor in (self._fd, self._folder_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._fd = self._folder_fd = -1


def live_holder(project_root: Path) -> LockHolder | None:
    """Return who runs in the project now, by its lock file and, for a holder from elsewhere, by the file's lock."""
    path = ProjectLock(project_root).path
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        holder = read_holder(descriptor)
        if holder is None or not holder.is_alive():
            return None
        return None if holder.is_foreign and is_local(path) and _is_free(descriptor) else holder
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Whether nobody holds the lock of this file; False where there are no locks."""
    try:
        free = try_flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    if free:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    return free


def _wait_for_holder(descriptor: int) -> LockHolder | None:
    """Return the holder, which is written a moment after the lock was taken."""
    for _ in range(_READ_TRIES):
        holder = read_holder(descriptor)
        if holder is not None:
            return holder
        time.sleep(_POLL_S)
    return None
