"""One harness per project: the second is refused by name, a dead run's lock is taken over.

pytest tests/unit/run/test_lock.py
"""

from __future__ import annotations

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

import pytest

from tests.helpers.lock_holders import HOLDER
from tests.helpers.process_projects import first_line, running
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.identity import ProcessIdentity, host_name, own_identity
from tinyworlds_gate.run.lock import LockHolder, ProjectLock, live_holder


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


def test_a_holder_on_another_machine_is_neither_alive_nor_dead(tmp_path: Path) -> None:
    me = own_identity()
    elsewhere = LockHolder(me.pid, me.start, "another host", 1.0, None)
    gone = replace(elsewhere, start=me.start - 1.0)
    assert [(one.is_alive(), one.is_dead()) for one in (elsewhere, gone)] == [(False, False)] * 2


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
