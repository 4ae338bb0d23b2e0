"""One harness per project: the second is refused by name, a dead run's lock is taken over.

pytest tests/unit/run/test_lock.py
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.lock_holders import HOLDER
from tests.helpers.process_projects import first_line, running
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run import lock as lock_module
from tinyworlds_gate.run.identity import ProcessIdentity, host_name, own_identity, process_start
from tinyworlds_gate.run.lock import ProjectLock, live_holder
from tinyworlds_gate.run.lock_holder import LockHolder, boot_id, pid_namespace


@contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    with running([sys.executable, "-c", HOLDER, root], cwd=root) as process:
        assert first_line(process) == "held\n"
        yield process


@pytest.mark.requirement("L2", "H5")
def test_a_second_harness_is_refused_with_the_pid_start_and_run_of_the_first(tmp_path: Path) -> None:
    with (
        holder(tmp_path) as first,
        pytest.raises(LaunchError, match=rf"PID {first.pid} on .*started \d{{4}}_\d\d_.*run first.*kill {first.pid}"),
    ):
        ProjectLock(tmp_path).acquire()


@pytest.mark.requirement("H5")
def test_a_link_to_the_project_is_the_same_project(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with ProjectLock(tmp_path / "real"), pytest.raises(LaunchError, match="Another run of the project"):
        ProjectLock(tmp_path / "link").acquire()


def test_two_projects_do_not_know_each_other(tmp_path: Path) -> None:
    with ProjectLock(tmp_path / "one") as one, ProjectLock(tmp_path / "two") as two:
        assert one.path != two.path


def test_a_released_lock_leaves_no_holder(tmp_path: Path) -> None:
    with ProjectLock(tmp_path):
        pass
    with ProjectLock(tmp_path) as again:
        assert again.taken_over is None


def test_a_lock_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(LaunchError, match="Cannot write the lock file"):
        ProjectLock(tmp_path).acquire()


def test_a_reused_pid_is_another_process() -> None:
    me = own_identity()
    assert me.is_alive()
    assert not ProcessIdentity(me.pid, me.start - 1.0).is_alive()


FORKS = """
import os, sys, time
from pathlib import Path
from tinyworlds_gate.run.lock import ProjectLock
with ProjectLock(Path(sys.argv[1]), run="first"):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.mark.requirement("L2", "H5")
def test_a_forked_child_does_not_keep_the_lock_of_a_dead_run(tmp_path: Path) -> None:
    with running([sys.executable, "-c", FORKS, tmp_path], cwd=tmp_path) as first:
        child = int(first_line(first))
        try:
            with pytest.raises(LaunchError, match=f"by PID {first.pid} on"):
                ProjectLock(tmp_path).acquire()
            first.kill()
            first.wait()
            with ProjectLock(tmp_path) as lock:
                assert lock.taken_over is not None
                assert lock.taken_over.pid == first.pid
            os.kill(child, 0)  # the child is alive all the while
        finally:
            os.kill(child, signal.SIGKILL)


FORKED_CHILD_LEAVES = """
import os, sys
from pathlib import Path
from tinyworlds_gate.run.lock import ProjectLock, live_holder
root = Path(sys.argv[1])
with ProjectLock(root, run="first"):
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        print(status, live_holder(root).run, flush=True)
"""


@pytest.mark.requirement("L2", "H5")
def test_a_forked_child_that_ends_does_not_give_the_project_back(tmp_path: Path) -> None:
    with running([sys.executable, "-c", FORKED_CHILD_LEAVES, tmp_path], cwd=tmp_path) as first:
        assert first_line(first) == "0 first\n"


@contextmanager
def locked_without_a_name(root: Path) -> Iterator[int]:
    """Hold the project's lock, with nothing written yet to its file; yields the file's descriptor."""
    path = ProjectLock(root).path
    path.parent.mkdir()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.requirement("L2", "H5")
def test_a_holder_that_writes_its_name_a_moment_after_it_took_the_lock_is_named(tmp_path: Path) -> None:
    me = own_identity()
    record = json.dumps(asdict(LockHolder(me.pid, me.start, host_name(), 1.0, "late"))).encode()
    with locked_without_a_name(tmp_path) as descriptor:
        writer = threading.Timer(0.05, os.pwrite, (descriptor, record, 0))
        writer.start()
        try:
            with pytest.raises(LaunchError, match=rf"active, by PID {me.pid} on .*, run late\. Wait until it ends"):
                ProjectLock(tmp_path).acquire()
        finally:
            writer.join()


@pytest.mark.requirement("L2", "H5")
def test_a_holder_that_has_written_no_name_is_refused_without_one(tmp_path: Path) -> None:
    said = "by a process that has not written its name yet. Try again in a moment."
    with locked_without_a_name(tmp_path), pytest.raises(LaunchError, match=re.escape(said)):
        ProjectLock(tmp_path).acquire()


def test_a_lock_is_taken_once_a_process(tmp_path: Path) -> None:
    with ProjectLock(tmp_path) as lock, pytest.raises(LaunchError, match="This process already holds the project"):
        lock.acquire()


def test_the_holder_is_known_as_long_as_it_holds_the_lock(tmp_path: Path) -> None:
    with ProjectLock(tmp_path, run="mine"):
        holder = live_holder(tmp_path)
        assert holder is not None
        assert (holder.pid, holder.run, holder.is_alive(), holder.is_dead()) == (os.getpid(), "mine", True, False)
    assert live_holder(tmp_path) is None


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"host": "another host", "boot": None},
        {"boot": "another boot"},
        {"pid_namespace": 7},
        {"host": "another host", "boot": "another boot"},
    ],
    ids=["host", "boot", "PID namespace", "host and boot"],
)
def test_a_holder_from_elsewhere_counts_as_alive_whatever_its_pid(elsewhere: dict[str, Any]) -> None:
    here = LockHolder.of_this_process(1.0, None)
    gone_here = replace(here, start=here.start - 1.0)
    assert [(one.is_alive(), one.is_dead()) for one in (here, gone_here)] == [(True, False), (False, True)]
    for one in (here, gone_here):
        assert (replace(one, **elsewhere).is_alive(), replace(one, **elsewhere).is_dead()) == (True, False)


def leave_record(root: Path, **changed: Any) -> LockHolder:
    """Write the lock file of a dead holder, with these fields changed."""
    here = LockHolder.of_this_process(1.0, "first")
    holder = replace(here, **{"start": here.start - 1.0, **changed})
    path = ProjectLock(root).path
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    return holder


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The file system has no locks: each call fails with this errno, as on NFS, Lustre and FUSE."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock_module, "is_local", lambda path: False)


NO_LOCKS = pytest.mark.parametrize("no_flock", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], indirect=True)


@NO_LOCKS
@pytest.mark.usefixtures("no_flock")
@pytest.mark.requirement("L2", "H5")
def test_without_flock_the_record_decides(tmp_path: Path) -> None:
    leave_record(tmp_path)
    with ProjectLock(tmp_path) as lock:
        assert lock.taken_over is not None
        holder = live_holder(tmp_path)
        assert holder is not None
        assert holder.is_this_process
    leave_record(tmp_path, pid=os.getppid(), start=process_start(os.getppid()))
    with pytest.raises(LaunchError, match=f"by PID {os.getppid()} on .* kill {os.getppid()}"):
        ProjectLock(tmp_path).acquire()


@NO_LOCKS
@pytest.mark.usefixtures("no_flock")
@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize("elsewhere", [{"boot": "another boot"}, {"pid_namespace": 7}, {"host": "h", "boot": None}])
def test_without_flock_a_holder_from_elsewhere_is_never_taken_for_dead(
    tmp_path: Path, elsewhere: dict[str, Any]
) -> None:
    leave_record(tmp_path, **elsewhere)
    fix = re.escape(f"if it is gone, remove {ProjectLock(tmp_path).path} and start again.")
    with pytest.raises(LaunchError, match=rf"of another machine, boot or PID namespace\. .*{fix}"):
        ProjectLock(tmp_path).acquire()
    assert live_holder(tmp_path) is not None
    ProjectLock(tmp_path).path.unlink()
    with ProjectLock(tmp_path):
        pass


@NO_LOCKS
@pytest.mark.usefixtures("no_flock")
@pytest.mark.requirement("L2", "H5")
def test_without_flock_a_run_notices_that_its_lock_file_was_replaced(tmp_path: Path) -> None:
    with ProjectLock(tmp_path) as lock:
        lock.confirm()
        for change in (lock.path.unlink, lock.path.touch):
            change()
            with pytest.raises(LaunchError, match="was removed or replaced while this run holds it"):
                lock.confirm()


@pytest.mark.requirement("L2", "H5")
def test_a_lock_that_only_this_machine_knows_does_not_overrule_a_foreign_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "is_local", lambda path: False)
    leave_record(tmp_path, boot="another boot")
    with pytest.raises(LaunchError, match="Whether it lives cannot be seen from here"):
        ProjectLock(tmp_path).acquire()


@pytest.mark.requirement("L2", "H5")
def test_on_a_local_disk_the_free_lock_of_a_container_that_ended_is_taken_over(tmp_path: Path) -> None:
    leave_record(tmp_path, host="container", pid_namespace=7)
    assert live_holder(tmp_path) is None
    with ProjectLock(tmp_path) as lock:
        assert lock.taken_over is not None
        assert lock.taken_over.host == "container"


@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize("change", ["removed", "emptied and replaced", "another record"])
def test_a_lock_file_that_is_removed_or_replaced_lets_no_second_run_in(tmp_path: Path, change: str) -> None:
    with holder(tmp_path) as first:
        path = ProjectLock(tmp_path).path
        path.unlink()
        if change == "emptied and replaced":
            path.touch()
        elif change == "another record":
            leave_record(tmp_path)
        for _ in range(2):
            with pytest.raises(LaunchError, match="Another run of the project"):
                ProjectLock(tmp_path).acquire()
        assert first.poll() is None


def test_a_run_writes_a_removed_lock_file_again(tmp_path: Path) -> None:
    with ProjectLock(tmp_path, run="first") as lock:
        lock.path.unlink()
        lock.confirm()
        holder = live_holder(tmp_path)
        assert holder is not None
        assert holder.run == "first"
        with pytest.raises(LaunchError, match=r"by PID .*run first"):
            ProjectLock(tmp_path).acquire()


def test_the_lock_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "mine").write_text("mine")
    ProjectLock(tmp_path).path.symlink_to(tmp_path / "mine")
    with pytest.raises(LaunchError, match="Cannot write the lock file"):
        ProjectLock(tmp_path).acquire()
    assert (tmp_path / "mine").read_text() == "mine"


def test_this_boot_and_namespace_are_known_on_linux() -> None:
    assert re.fullmatch(r"[0-9a-f-]{36}", boot_id() or "")
    assert pid_namespace() == os.stat(f"/proc/{os.getpid()}/ns/pid").st_ino


STUBBORN_HEIR = """
import fcntl, os, sys, time
from pathlib import Path
from tinyworlds_gate.run.lock import ProjectLock
with ProjectLock(Path(sys.argv[1]), run="first") as lock:
    heir = os.dup(lock._fd)  # a library that duplicates descriptors keeps the lock through its fork
    child = os.fork()
    if child == 0:
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.mark.requirement("L2", "H5")
def test_a_lock_that_a_child_of_a_dead_run_keeps_is_refused_with_the_way_to_find_it(tmp_path: Path) -> None:
    with running([sys.executable, "-c", STUBBORN_HEIR, tmp_path], cwd=tmp_path) as first:
        heir = int(first_line(first))
        first.kill()
        first.wait()
        try:
            told = rf"by a process that PID {first.pid} on .*, had started before it died\. Find it with `fuser .*lock`"
            with pytest.raises(LaunchError, match=told):
                ProjectLock(tmp_path).acquire()
        finally:
            os.kill(heir, signal.SIGKILL)
        with ProjectLock(tmp_path) as lock:
            assert lock.taken_over is not None
            assert lock.taken_over.pid == first.pid
