"""`run_child`: exit codes, deadlines, interrupts, and the end of the whole process tree.

pytest tests/unit/launch/test_child.py
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.process_projects import first_line, is_running, wait_for
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.child import ChildResult, log_tail, run_child
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.launch.processes.find import find_launch

ORPHAN = (
    "import subprocess, sys\n"
    "sleep = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
    "print(subprocess.Popen(sleep, start_new_session=True).pid, flush=True)\n"
)


def run(tmp_path: Path, code: str, *, deadline_s: float = 30.0) -> ChildResult:
    return run_child(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ,
        log_path=tmp_path / "logs" / "x.log",
        deadline_s=deadline_s,
        poll_s=0.05,
    )


def test_a_child_that_succeeds_reports_its_exit_time_and_log(tmp_path: Path) -> None:
    result = run(tmp_path, "import os, sys; print('out'); print('err', file=sys.stderr); print(os.getcwd())")
    assert result.ok
    assert (result.exit_code, result.signal, result.stopped, result.leftovers) == (0, None, None, ())
    assert set(result.log_tail) == {"out", "err", str(tmp_path)}
    assert result.wall_s > 0


def test_an_exit_code_and_a_signal_are_distinguished(tmp_path: Path) -> None:
    failed = run(tmp_path, "raise SystemExit(3)")
    assert (failed.exit_code, failed.signal, failed.ok) == (3, None, False)
    killed = run(tmp_path, "import os; os.kill(os.getpid(), 11)")
    assert (killed.exit_code, killed.signal, killed.ok) == (None, "SIGSEGV", False)


def test_a_child_past_its_deadline_is_ended(tmp_path: Path) -> None:
    result = run(tmp_path, "import time; print('begun', flush=True); time.sleep(60)", deadline_s=0.5)
    assert result.stopped
    assert not result.ok
    assert result.stopped == "it ran longer than 0.5 s"
    assert not is_running(result.pid)


@pytest.mark.parametrize("missing", ["no pidfd_open in Python", "refused by the kernel"])
def test_without_pidfd_a_child_is_waited_for_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    if missing == "refused by the kernel":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    else:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    finished = run(tmp_path, "import time; time.sleep(0.3); raise SystemExit(5)")
    assert (finished.exit_code, finished.stopped, finished.log_tail) == (5, None, ())
    stopped = run(tmp_path, "import time; time.sleep(60)", deadline_s=0.3)
    assert stopped.stopped == "it ran longer than 0.3 s"
    assert 0.3 <= stopped.wall_s < 10
    assert not is_running(stopped.pid)


def test_leftover_processes_of_a_child_are_ended_and_recorded(tmp_path: Path) -> None:
    result = run(tmp_path, ORPHAN)
    orphan = int(result.log_tail[0])
    assert result.exit_code == 0
    assert [(record.pid, record.outcome) for record in result.leftovers] == [(orphan, "ended")]
    assert not is_running(orphan)


def test_the_poll_receives_the_elapsed_time(tmp_path: Path) -> None:
    seen: list[float] = []
    run_child(
        [sys.executable, "-c", "import time; time.sleep(0.4)"],
        cwd=tmp_path,
        env=os.environ,
        log_path=tmp_path / "x.log",
        deadline_s=30,
        on_poll=seen.append,
        poll_s=0.05,
    )
    assert len(seen) >= 2
    assert seen == sorted(seen)


def test_an_error_in_the_poll_ends_the_child_too(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail(_: float) -> None:
        text = (tmp_path / "x.log").read_text()
        if text:
            pids.append(int(text))
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        run_child(
            [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"],
            cwd=tmp_path,
            env=os.environ,
            log_path=tmp_path / "x.log",
            deadline_s=30,
            on_poll=fail,
            poll_s=0.05,
        )
    assert not is_running(pids[0])


def test_a_command_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"Cannot start .*no-such-python .*No such file"):
        run_child(
            [str(tmp_path / "no-such-python"), "x.py"], cwd=tmp_path, env={}, log_path=tmp_path / "l", deadline_s=5
        )


def test_a_second_child_on_one_log_is_described_by_its_own_lines(tmp_path: Path) -> None:
    run(tmp_path, "print('MemoryError')")
    assert run(tmp_path, "print('second')").log_tail == ("second",)


def test_the_failure_text_names_command_end_duration_lines_and_log(tmp_path: Path) -> None:
    result = run(tmp_path, "for i in range(60): print('line', i)\nraise SystemExit(4)  # token=abcdef")
    text = failure_text(result)
    assert re.search(r"exited with code 4 after \d+\.\d s", text)
    assert "line 59" in text
    assert "line 9\n" not in text
    assert str(result.log) in text
    assert "abcdef" not in text
    assert sys.executable in text


def test_the_failure_text_of_a_stopped_child_says_why(tmp_path: Path) -> None:
    text = failure_text(run(tmp_path, "import time; time.sleep(60)", deadline_s=0.3))
    assert "stopped by the harness because it ran longer than 0.3 s; it was ended by SIGTERM" in text
    assert "(it wrote nothing)" in text


def test_a_log_tail_shows_the_last_state_of_a_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\r10%\r100%\nend\xff\n")
    assert log_tail(tmp_path / "log") == ["100%", "end\ufffd"]


HARNESS = """
import os, sys
from pathlib import Path
from tinyworlds_gate.launch.child import run_child
try:
    run_child([sys.executable, "-c", sys.argv[2]], cwd=Path(sys.argv[1]), env=os.environ,
              log_path=Path(sys.argv[1]) / "x.log", deadline_s=60, poll_s=0.05)
except KeyboardInterrupt as interrupt:
    print("interrupted by", getattr(interrupt, "signal_name", "Ctrl-C"))
"""


@pytest.mark.parametrize(
    ("number", "shown"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_an_interrupted_harness_ends_the_tree_and_raises_the_signal(
    tmp_path: Path, number: signal.Signals, shown: str
) -> None:
    child = f"{ORPHAN}\nimport time; time.sleep(60)"
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, str(tmp_path), child], stdout=subprocess.PIPE, text=True)
    log = tmp_path / "x.log"
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the child's first line")
    grandchild = int(log.read_text())
    harness.send_signal(number)
    assert first_line(harness) == f"interrupted by {shown}\n"
    harness.communicate(timeout=20)
    assert not is_running(grandchild)
    assert not is_running(harness.pid)


def test_a_marker_is_of_one_launch_only(tmp_path: Path) -> None:
    assert run(tmp_path, "import os; print(len(os.environ['TINYWORLDS_GATE_LAUNCH']))").log_tail == ("32",)
    assert find_launch("0" * 32) == []


def test_a_child_of_a_harness_that_was_killed_is_ended_and_its_log_says_so(tmp_path: Path) -> None:
    child = f"{ORPHAN}\nimport time; time.sleep(60)"
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, str(tmp_path), child])
    log = tmp_path / "x.log"
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"), "the child's first line")
    grandchild = int(log.read_text())
    (tether,) = [
        one
        for one in psutil.Process(harness.pid).children()
        if "tinyworlds_gate.launch.processes.tether" in one.cmdline()
    ]
    harness.kill()
    harness.wait()
    wait_for(lambda: not is_running(grandchild), "the end of what it had started")
    wait_for(lambda: not is_running(tether.pid), "the end of the tether")
    line = log.read_text().splitlines()[-1]
    assert line.startswith(f"[tinyworlds_gate] the harness (PID {harness.pid}) died while this ran; ended: PID ")
    assert f"PID {grandchild} (SIGTERM, ended)" in line


def test_a_child_that_ends_leaves_no_tether(tmp_path: Path) -> None:
    before = {one.pid for one in psutil.Process().children()}
    result = run(tmp_path, "print('done')")
    assert result.log_tail == ("done",), "the tether says nothing"
    assert {one.pid for one in psutil.Process().children()} <= before
