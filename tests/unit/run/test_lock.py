"""One harness per project: the second is refused by name, a dead run's lock is taken over.

pytest tests/unit/run/test_lock.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.lock_holders import HOLDER
from tests.helpers.process_projects import first_line, running
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.identity import ProcessIdentity, own_identity
from tinyworlds_gate.run.lock import ProjectLock


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
