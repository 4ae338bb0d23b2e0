"""The project's lock where nothing is held, where descriptors run out of order, and what it leaves behind.

pytest tests/unit/run/test_lock_edges.py
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.descriptors import none_left_open, without_stdin
from tests.unit.run.test_lock import NO_LOCKS, leave_record, locked_without_a_name, no_flock
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run import lock as lock_module
from tinyworlds_gate.run.identity import process_start
from tinyworlds_gate.run.lock import ProjectLock, live_holder

__all__ = ["no_flock"]


@NO_LOCKS
@pytest.mark.usefixtures("no_flock")
@pytest.mark.requirement("L2", "H5")
def test_a_local_disk_without_locks_does_not_overrule_a_foreign_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "is_local", lambda path: True)
    leave_record(tmp_path, boot="another boot")
    with pytest.raises(LaunchError, match="Whether it lives cannot be seen from here"):
        ProjectLock(tmp_path).acquire()
    assert live_holder(tmp_path) is not None


def test_a_lock_that_is_not_held_has_nothing_to_confirm_or_release(tmp_path: Path) -> None:
    lock = ProjectLock(tmp_path)
    lock.confirm()
    lock.release()
    with lock:
        pass
    lock.confirm()
    lock.release()
    assert lock.path.read_bytes() == b"", "a released lock names nobody"


def test_no_lock_leaves_a_file_open(tmp_path: Path) -> None:
    with none_left_open(), ProjectLock(tmp_path) as lock:
        lock.path.unlink()
        lock.confirm()
        live_holder(tmp_path)
    leave_record(tmp_path, pid=os.getppid(), start=process_start(os.getppid()))
    lock = ProjectLock(tmp_path)
    with none_left_open():
        for _ in range(2):
            with pytest.raises(LaunchError, match=f"by PID {os.getppid()} on"):
                lock.acquire()
        live_holder(tmp_path)
    lock.path.unlink()
    lock.path.mkdir()
    with none_left_open(), pytest.raises(LaunchError, match="Cannot write the lock file"):
        lock.acquire()


def test_a_lock_file_that_is_removed_while_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still_there = lock_module.is_still_at
    answers = iter([False])
    monkeypatch.setattr(lock_module, "is_still_at", lambda *both: next(answers, None) is None and still_there(*both))
    with none_left_open(), ProjectLock(tmp_path):
        assert live_holder(tmp_path) is not None


def test_a_lock_may_have_the_first_descriptor(tmp_path: Path) -> None:
    """A process without an open stdin gets descriptor 0 for the next file that it opens."""
    with without_stdin():
        with ProjectLock(tmp_path):
            assert os.path.samestat(os.fstat(0), tmp_path.stat())
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    with ProjectLock(tmp_path) as lock, without_stdin():
        lock.path.unlink()
        lock.confirm()
        assert os.path.samestat(os.fstat(0), lock.path.stat())
        with pytest.raises(LaunchError, match="This process already holds the project"):
            lock.acquire()
        lock.path.unlink()
        lock.confirm()
        assert live_holder(tmp_path) is not None
        os.fstat(lock._fd)


def test_a_run_without_its_results_folder_stops(tmp_path: Path) -> None:
    with ProjectLock(tmp_path) as lock:
        lock.path.unlink()
        lock.path.parent.rmdir()
        with pytest.raises(LaunchError, match="was removed or replaced while this run holds it"):
            lock.confirm()


def test_a_record_replaces_a_longer_one_and_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    leave_record(tmp_path, run="x" * 500)
    with ProjectLock(tmp_path, run="a") as lock:
        assert json.loads(lock.path.read_bytes())["run"] == "a"
        assert synced == [str(lock.path)]


def test_a_name_that_is_not_written_is_waited_for_in_twenty_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(lock_module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waits.append))
    with locked_without_a_name(tmp_path), pytest.raises(LaunchError, match="has not written its name yet"):
        ProjectLock(tmp_path).acquire()
    assert waits == [0.02] * 20


def test_a_lock_file_without_a_holder_or_of_a_dead_one_is_nobody_s(tmp_path: Path) -> None:
    assert live_holder(tmp_path) is None
    dead = leave_record(tmp_path)
    assert live_holder(tmp_path) is None
    ProjectLock(tmp_path).path.write_text("no record")
    assert live_holder(tmp_path) is None
    assert dead.is_dead()
