"""Diagnosing a hang with real processes: who gets which signal, and whose state explains it.

pytest tests/unit/launch/processes/test_stacks.py
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.process_projects import first_line, is_running, running, wait_for
from tinyworlds_gate.launch.processes.end import ENDED, EndedProcess
from tinyworlds_gate.launch.processes.python_stack import Frame
from tinyworlds_gate.launch.processes.stacks import dumped_stack, is_held, request_stacks, states_text
from tinyworlds_gate.run.heartbeat import STACK_SIGNAL
from tinyworlds_gate.run.identity import ProcessIdentity, identify

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the masks of /proc")

WORKER = "import time\ndef waits_for_ever():\n    print('ready', flush=True)\n    time.sleep(60)\nwaits_for_ever()\n"
CATCHES_ABORT = f"import faulthandler; faulthandler.enable()\n{WORKER}"
DUMPS_ON_SIGNAL = f"import faulthandler; faulthandler.register({int(STACK_SIGNAL)})\n{WORKER}"


def of(process: subprocess.Popen[str]) -> ProcessIdentity:
    assert first_line(process) == "ready\n"
    found = identify(process.pid)
    assert found is not None
    return found


@pytest.mark.requirement("L3")
def test_a_worker_that_catches_an_abort_prints_its_stacks_and_is_recorded_as_ended(tmp_path: Path) -> None:
    aborted: list[EndedProcess] = []
    log = tmp_path / "stacks"
    code = f"import sys, os\nos.dup2(os.open({str(log)!r}, os.O_CREAT | os.O_WRONLY), 2)\n{CATCHES_ABORT}"
    with running([sys.executable, "-c", code], cwd=tmp_path) as process:
        assert request_stacks(of(process), on_signal=False, aborted=aborted)
        assert process.wait(timeout=20) == -signal.SIGABRT
    (record,) = aborted
    assert (record.pid, record.signal, record.outcome) == (process.pid, "SIGABRT", ENDED)
    assert "waits_for_ever" in log.read_text()


@pytest.mark.requirement("L3")
def test_a_worker_that_does_not_catch_an_abort_gets_no_signal(tmp_path: Path) -> None:
    aborted: list[EndedProcess] = []
    with running([sys.executable, "-c", WORKER], cwd=tmp_path) as process:
        assert not request_stacks(of(process), on_signal=False, aborted=aborted)
        assert is_running(process.pid)
        assert process.poll() is None
    assert aborted == []


@pytest.mark.requirement("L3")
def test_a_worker_that_announced_its_signal_survives_it_and_a_stopped_one_is_resumed(tmp_path: Path) -> None:
    aborted: list[EndedProcess] = []
    log = tmp_path / "stacks"
    code = f"import os\nos.dup2(os.open({str(log)!r}, os.O_CREAT | os.O_WRONLY), 2)\n{DUMPS_ON_SIGNAL}"
    with running([sys.executable, "-c", code], cwd=tmp_path) as process:
        identity = of(process)
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "the stop")
        assert request_stacks(identity, on_signal=True, aborted=aborted)
        wait_for(lambda: "waits_for_ever" in log.read_text(), "the stacks")
        assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
        assert process.poll() is None
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == resource.getrlimit(resource.RLIMIT_CORE)
    assert aborted == []


@pytest.mark.requirement("L3")
@pytest.mark.parametrize("on_signal", [True, False])
def test_a_process_with_the_pid_of_one_that_ended_gets_no_signal(tmp_path: Path, on_signal: bool) -> None:
    aborted: list[EndedProcess] = []
    with running([sys.executable, "-c", CATCHES_ABORT], cwd=tmp_path) as process:
        identity = of(process)
        earlier = ProcessIdentity(identity.pid, identity.start - 100.0)
        assert not request_stacks(earlier, on_signal=on_signal, aborted=aborted)
        assert process.poll() is None
    assert not request_stacks(identity, on_signal=on_signal, aborted=aborted)
    assert aborted == []


@pytest.mark.requirement("L3")
def test_only_a_state_that_explains_a_hang_is_named_with_the_rank(tmp_path: Path) -> None:
    with running([sys.executable, "-c", WORKER], cwd=tmp_path) as process:
        of(process)
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING, "the sleep")
        assert states_text({process.pid: 1}) == ""
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "the stop")
        stopped = f"(PID {process.pid}) is stopped (SIGSTOP)"
        assert states_text({2**22 + 1: 0, process.pid: 1}) == f"; rank 1 {stopped}"
        assert states_text({process.pid: 0}) == f"; rank 0 {stopped}"
        assert states_text({process.pid: None}) == f"; a worker {stopped}"


DUMP = """\
loss 0.1
Thread 0x00007f1 [loader] (most recent call first):
  File "/env/lib/python3.12/threading.py", line 355 in wait

Current thread 0x00007f2 (most recent call first):
  File "/project/clips.py", line 3 in load
  File "/project/train.py", line 9 in <module>

Extension modules: numpy._core._multiarray_umath (total: 1)
"""


def test_the_stack_of_the_main_thread_is_read_from_a_dump() -> None:
    stack = (Frame("/project/clips.py", "load"), Frame("/project/train.py", "<module>"))
    assert dumped_stack(DUMP) == stack
    assert dumped_stack("loss 0.1\n") == ()


def test_only_a_stopped_process_is_held(tmp_path: Path) -> None:
    with running([sys.executable, "-c", WORKER], cwd=tmp_path) as process:
        first_line(process)
        assert not is_held(process.pid)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: is_held(process.pid), "the stop")
    assert not is_held(process.pid)
