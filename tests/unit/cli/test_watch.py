"""`tinyworlds-gate watch` from its words to its end, the record that it leaves, and the finding M4 made of it.

python -m pytest tests/unit/cli/test_watch.py
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.finding_events import holds
from tests.helpers.tiny_project import environment
from tests.helpers.watched_runs import START, WatchedRun, long_run
from tinyworlds_gate.cli import watch as command
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.monitoring import long_watch
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.plain import NOTE, Line
from tinyworlds_gate.watch.reader import RunReader
from tinyworlds_gate.watch.record import WatchRecord
from tinyworlds_gate.watch.view import view_of

pytestmark = pytest.mark.requirement("M4")


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait two seconds between two looks."""
    monkeypatch.setattr(command, "POLL_S", 0.02)
    monkeypatch.setattr(command, "LINGER_S", 0.1)


def logs_of(layout: RunLayout) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(layout.histories.glob("monitor_4h_*.log"))]


def now() -> float:
    """Seconds after the sample run's start."""
    return time.time() - START


def test_a_run_that_has_ended_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = long_run(tmp_path)
    run.event("run_finished", 1700.0, status="failed", sentence="FAIL: the error is 0.2.", exit_status=1)
    run.event("report_written", 1701.0, id="A8", path="docs/action/validation.html")
    assert main(["watch", str(run.layout.root)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.search(r"  IDLE    ended .* ago \(failed\): FAIL: the error is 0\.2\.$", line)
    assert logs_of(run.layout) == []


def test_a_watch_started_before_the_first_event_follows_the_run_to_its_end_and_writes_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = WatchedRun(tmp_path)
    steps: list[Callable[[], object]] = [
        lambda: run.begin(at=now()),
        lambda: run.chunk(1, "dynamics", now(), end=10),
        lambda: run.rows("dynamics", [0.5, 0.25]),
        lambda: run.chunk_done(1, "dynamics", now(), 9),
        lambda: run.event("run_finished", now(), status="passed", sentence="PASS: near.", exit_status=0),
        lambda: run.event("report_written", now(), id="A8", path="docs/action/page.html"),
    ]

    def write() -> None:
        for step in steps:
            time.sleep(0.08)
            step()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert main(["watch", str(run.layout.root), "--for", "4h", "--plain", "--every", "0.01s"]) == 0
    finally:
        writer.join()
    (log,) = logs_of(run.layout)
    lines = [line[21:] for line in log.splitlines()]
    assert lines[0] == f"NOTE    watch of run {run.layout.run} for 4h"
    assert lines[1] == "IDLE    no journal yet: waiting for it"
    assert "EVENT   run longrun_sample started (profile longrun)" in lines
    assert any(line.startswith("STATUS  dynamics, chunk 1, update 2 of 10") for line in lines)
    assert "EVENT   the run has ended (passed): PASS: near." in lines
    assert lines[-1] == "NOTE    the watch ended: the run has ended"
    assert capsys.readouterr().out.splitlines() == log.splitlines()[1:-1]
    info = (run.layout.histories / "monitor_4h_latest.info").read_text(encoding="utf-8")
    assert f"run: results/{run.layout.run}\n" in info
    assert re.search(r"^log: Logs/monitor_4h_[\d_]+\.log$", info, re.M)
    assert re.search(r"^now: ended .* \(passed\): PASS: near\.$", info, re.M)
    found = long_watch(run.layout)
    holds(found, "PASS", r"watched from another terminal: \d+ observation\(s\) over .* \(--for 4h\)$")
    assert found.evidence == f"Logs/{next(run.layout.histories.glob('monitor_4h_*.log')).name}"


def test_a_watch_for_a_time_ends_with_it_and_waits_for_a_run_that_may_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = long_run(tmp_path)
    run.event("run_finished", 1700.0, status="interrupted", sentence="interrupted", exit_status=2)
    began = time.monotonic()
    assert main(["watch", str(run.layout.root), "--for", "0.4s"]) == 0
    assert time.monotonic() - began >= 0.4
    assert main(["watch", str(run.layout.root)]) == 0  # without a time it has nothing to wait for
    (log,) = logs_of(run.layout)
    assert log.endswith("NOTE    the watch ended: its time is over\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "4 hours"], "'4 hours' is not a duration: write a number and its unit, such as 4h"),
        (["--every", "0s"], "The duration '0s' is not allowed"),
    ],
)
def test_a_wrong_duration_is_an_error_before_anything_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = long_run(tmp_path)
    assert main(["watch", str(run.layout.root), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert logs_of(run.layout) == []


def test_a_folder_that_is_not_a_run_is_an_error_that_lists_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["watch", "results/nothing"]) == 2
    assert "results/nothing is not a run's folder: expected <project>/results/<run>" in capsys.readouterr().err
    WatchedRun(tmp_path, "older")
    WatchedRun(tmp_path, "newer")
    os.utime(tmp_path / "results" / "older", (1, 1))
    for wrong in ("results/nothing", "results", "nothing"):
        assert main(["watch", wrong]) == 2
        assert "the newest are newer, older." in capsys.readouterr().err


def test_a_damaged_journal_ends_the_watch_with_an_error_that_is_also_in_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = WatchedRun(tmp_path).begin()
    with run.layout.journal.open("ab") as file:
        file.write(b"{}\n{}\n")
    assert main(["watch", str(run.layout.root), "--for", "1h"]) == 2
    assert "is damaged in line 3: it is not an event" in capsys.readouterr().err
    assert "the watch ended: The journal" in logs_of(run.layout)[0]


def test_a_watch_process_exits_cleanly_on_sigterm_and_has_no_heavy_import(tmp_path: Path) -> None:
    """A real process whose output is a pipe prints lines by default."""
    run = WatchedRun(tmp_path).begin(at=now())
    run.chunk(1, "dynamics", now())
    code = (
        "import sys; from tinyworlds_gate.cli.main import main; code = main(sys.argv[1:]); "
        "print([name for name in ('torch', 'numpy', 'pydantic', 'matplotlib', 'jinja2') if name in sys.modules], code)"
    )
    words = [sys.executable, "-c", code, "watch", str(run.layout.root), "--for", "4h"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
    assert "STATUS  dynamics, chunk 1" in first
    assert rest == "[] 0\n"
    assert "the watch ended: it was stopped by a person or by the system" in logs_of(run.layout)[0]


def test_on_a_terminal_there_is_a_page_and_a_terminal_that_goes_away_ends_the_watch(tmp_path: Path) -> None:
    """A real process on a pseudo-terminal, which is closed while it draws."""
    run = WatchedRun(tmp_path).begin(at=now())
    run.chunk(1, "dynamics", now())
    code = (
        "import sys; from tinyworlds_gate.cli.main import main; from tinyworlds_gate.cli import watch as command; "
        "command.POLL_S = 0.05; sys.exit(main(sys.argv[1:]))"
    )
    terminal, stdout = pty.openpty()
    fcntl.ioctl(stdout, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    words = [sys.executable, "-c", code, "watch", str(run.layout.root), "--for", "4h"]
    env = environment() | {"TERM": "xterm"}
    with subprocess.Popen(words, cwd=tmp_path, env=env, stdout=stdout, stderr=subprocess.PIPE) as process:
        os.close(stdout)
        drawn = b""
        while b"device sample" not in drawn:
            drawn += os.read(terminal, 65536)
        os.close(terminal)
        _, output = process.communicate(timeout=20)
    assert drawn.startswith(b"\x1b[?1049h")
    assert b"Training dynamics" in drawn
    assert (process.returncode, output) == (0, b"")
    assert "the watch ended: its terminal or its reader has gone" in logs_of(run.layout)[0]


def test_two_watches_of_one_second_keep_two_logs(tmp_path: Path) -> None:
    layout = WatchedRun(tmp_path).layout
    records = [WatchRecord(layout, "4h") for _ in range(3)]
    for number, record in enumerate(records):
        record.close(f"end {number}")
    assert len({record.log for record in records}) == 3
    assert [f"end {number}\n" in log for number, log in enumerate(logs_of(layout))] == [True] * 3


def test_a_failing_write_of_the_record_is_reported_and_does_not_stop_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, moment = long_run(tmp_path)
    snapshot = RunReader(run.layout).read()
    record = WatchRecord(run.layout, "4h")
    run.layout.histories.rename(tmp_path / "away")
    record.show(view_of(snapshot.state, snapshot.facts, moment))
    assert record.problem == f"Logs/monitor_4h_latest.info cannot be written: {os.strerror(errno.ENOENT)}"
    record.close("end")
    (tmp_path / "Logs").write_text("a file, not a folder")
    assert main(["watch", str(run.layout.root), "--for", "4h"]) == 2
    assert "The record of the watch" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_reported_on_the_page(tmp_path: Path) -> None:
    record = WatchRecord(WatchedRun(tmp_path).layout, "4h")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, record._file.fileno())
    os.close(full)
    record.write([Line(START, NOTE, "x" * 9000)])
    assert record.problem == f"Logs/{record.log.name} cannot be written: {os.strerror(errno.ENOSPC)}"
    record.close("end")
    assert record._file.closed


def left(layout: RunLayout, name: str, *lines: str) -> None:
    layout.histories.mkdir(parents=True, exist_ok=True)
    (layout.histories / f"monitor_4h_{name}.log").write_text("".join(f"2026-11-24 {line}" for line in lines))


HEAD = "10:00:00  NOTE    watch of run longrun_sample for 4h\n"


@pytest.mark.parametrize(
    ("lines", "verdict", "said"),
    [
        ((), "NOT-RUN", "optional: no watch was started"),
        (
            ("10:00:00  NOTE    watch of run another for 4h\n", "10:00:01  STATUS  x\n"),
            "NOT-RUN",
            "no watch was started",
        ),
        (("10:00:00  STATUS  x\n",), "NOT-RUN", "no watch was started"),
        ((HEAD,), "NOT-RUN", r"never saw the run working \(Logs/monitor_4h_a\.log\)"),
        ((HEAD, "10:00:01  IDLE    ended\n", "10:00:02  EVENT   x\n"), "NOT-RUN", "never saw the run working"),
        ((HEAD, "10:00:01  STATUS  torn"), "NOT-RUN", "never saw the run working"),
        ((HEAD, "99:99:99  STATUS  x\n"), "NOT-RUN", "never saw the run working"),
        (
            (HEAD, "10:00:01  STATUS  x\n", "14:00:01  STATUS  x\n"),
            "PASS",
            r"2 observation\(s\) over 4 h 00 min \(--for",
        ),
    ],
)
def test_a_watch_counts_when_its_log_names_this_run_and_saw_it_at_work(
    lines: tuple[str, ...], verdict: str, said: str, tmp_path: Path
) -> None:
    run = WatchedRun(tmp_path)
    if lines:
        left(run.layout, "a", *lines)
    holds(long_watch(run.layout), verdict, said)


def test_of_several_watches_the_longest_is_the_evidence(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path)
    left(run.layout, "a", HEAD, "10:00:01  STATUS  x\n", "10:09:01  STATUS  x\n")
    left(run.layout, "b", HEAD, "10:00:01  STATUS  x\n")
    (run.layout.histories / "monitor_4h_c.log").mkdir()
    assert long_watch(run.layout) == Finding(
        "M4",
        "PASS",
        "watched from another terminal: 2 observation(s) over 9 min (--for 4h); the longest of 2 watches",
        "Logs/monitor_4h_a.log",
    )
