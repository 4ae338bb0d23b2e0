"""A process that a launch leaves behind is found and ended, however it hides.

pytest tests/unit/launch/processes/test_adoption.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tinyworlds_gate.launch.child import run_child
from tinyworlds_gate.launch.processes.adoption import adopting_orphans
from tinyworlds_gate.names import LAUNCH_VARIABLE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="adopts orphans on Linux only")

DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        with open(sys.argv[1], "w") as file:
            file.write(str(os.getpid()))
        os.chdir("/")
        os.execve("/bin/sleep", ["sleep", "61.25"], {})
    os._exit(0)
os.wait()
"""
"""Two forks, a session of its own, no environment, another program: nothing but its descent is left."""


def pid_in(path: Path) -> int:
    deadline = time.monotonic() + 10
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())


@pytest.mark.requirement("L1")
def test_a_process_that_hides_from_its_launch_is_ended_with_it(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    try:
        command = [sys.executable, "-c", DAEMON, str(tmp_path / "pid")]
        result = run_child(command, cwd=tmp_path, env=dict(os.environ), log_path=tmp_path / "log", deadline_s=30)
        left = pid_in(tmp_path / "pid")
        assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE
        assert (result.exit_code, [one.pid for one in result.leftovers]) == (0, [left])
        assert bystander.poll() is None, "a child from before is not of the launch"
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("everything", [False, True])
def test_what_shows_the_marker_of_its_launch_is_left_to_the_rule_for_bystanders(everything: bool) -> None:
    with adopting_orphans("a launch", everything=everything) as adoption:
        marked = {**os.environ, LAUNCH_VARIABLE: "a launch"}
        tail = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True, env=marked)
        try:
            assert [one.pid for one in adoption.orphans(None)] == ([tail.pid] if everything else [])
        finally:
            tail.kill()
            tail.wait()


def test_children_of_our_own_session_and_the_launcher_are_no_orphans() -> None:
    with adopting_orphans("a launch") as adoption:
        own = subprocess.Popen(["/bin/sleep", "60"])
        other = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
        try:
            (found,) = adoption.orphans(None)
            assert found.pid == other.pid
            assert adoption.orphans(found.identity) == []
        finally:
            for process in (own, other):
                process.kill()
                process.wait()


def test_children_that_another_thread_started_are_no_orphans() -> None:
    started: list[subprocess.Popen[bytes]] = []
    done, end = threading.Event(), threading.Event()

    def work() -> None:
        started.append(subprocess.Popen(["/bin/sleep", "60"], start_new_session=True))
        done.set()
        end.wait()

    with adopting_orphans("a launch") as adoption:
        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert done.wait(10)
            assert adoption.orphans(None) == []
        finally:
            end.set()
            thread.join()
            started[0].kill()
            started[0].wait()


def test_orphans_go_to_the_process_that_took_them_before(tmp_path: Path) -> None:
    with adopting_orphans("a launch"):
        pass
    subprocess.run([sys.executable, "-c", DAEMON, str(tmp_path / "pid")], check=True)
    left = psutil.Process(pid_in(tmp_path / "pid"))
    try:
        assert left.ppid() != os.getpid()
    finally:
        left.kill()
