"""Signals to a whole pytest session while it trains, prepares or reports, and a second session beside it.

pytest tests/faults/test_interrupted_sessions.py -m "slow or not slow"
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import BeginScene
from tests.faults.scene import scene_of
from tests.helpers.process_projects import is_running, wait_for
from tests.helpers.tiny_project import (
    Session,
    environment,
    make_project,
    processes_of,
    run_pytest,
    runs,
    started,
    wait_until,
)
from tinyworlds_gate.targets.embedded import embedded_target

ENDLESS = ["validation", "-m", "smoke", "--target-updates", "100000", "--video-chunk", "100000"]
SHARED = "the scene is begun where the session that several tests look at is started"

Signalled = Callable[[subprocess.Popen[str]], None]


def stage_script(project: Path) -> Path:
    return embedded_target(project, Path("configs/profiles/smoke")).stage_script("video_tokenizer")


def trains(project: Path) -> bool:
    return any(project.glob("results/*/heartbeats/*/*"))


def workers_of(project: Path, *others: int) -> list[int]:
    """PIDs that work in the project's folder, without the given ones (the harness, the bystander)."""
    return [one.pid for one in processes_of(project) if one.pid not in others]


@dataclass(frozen=True)
class Interrupted:
    """A session that was interrupted, and the one that was tried while it ran."""

    session: Session
    pid: int
    refused: Session
    workers: list[int]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """A loop on two workers; while it trains a second session is tried, then it gets SIGINT."""
    project = make_project(tmp_path_factory.mktemp("interrupted") / "project")
    with (
        scene_of(project, stage_script(project)) as scene,
        started(project, *ENDLESS, "--nproc-per-node", "2") as process,
    ):
        wait_until(lambda: trains(project), process, "the first update")
        first = runs(project)[0]
        workers = workers_of(project, process.pid, scene.bystander.pid)
        refused = run_pytest(project, "validation", "-m", "smoke")
        refused = replace(refused, run_folder=next(run for run in runs(project) if run != first))
        scene.hold()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    session = Session(project, process.returncode, output, 0.0, first)
    return Interrupted(session, process.pid, refused, workers)


def check_interrupted(session: Session, *names: str) -> None:
    """What every interrupted run leaves: status 2, no claim, A1 and A5 that say so and name the signal."""
    assert session.exit_status == 2, session.output
    (event,) = session.events("interrupted")
    assert event["signal"] == names[0]
    assert all(name in event["reason"] for name in names)
    assert session.events("run_finished")[-1]["status"] == "interrupted"
    for id in ("A1", "A5"):
        text = session.report(id)
        assert "interrupted" in text
        assert "**Verdict: PASS**" not in text


@pytest.mark.fault("ctrl-c", no_scene=SHARED)
@pytest.mark.requirement("L2")
def test_ctrl_c_ends_every_worker_and_records_each(interrupted: Interrupted) -> None:
    assert len(interrupted.workers) >= 3, "torchrun and two workers"
    assert processes_of(interrupted.session.project) == []
    (event,) = interrupted.session.events("interrupted")
    assert len(event["ended"]) >= 3
    assert {record["pid"] for record in event["ended"]} <= set(interrupted.workers)
    assert {record["outcome"] for record in event["ended"]} == {"ended"}
    assert "| interrupted | " in interrupted.session.report("A1")


@pytest.mark.fault("ctrl-c", no_scene=SHARED)
@pytest.mark.requirement("A1", "A5")
def test_ctrl_c_exits_2_and_claims_nothing(interrupted: Interrupted) -> None:
    session = interrupted.session
    check_interrupted(session, "SIGINT")
    assert "The run was interrupted before its end; nothing is claimed." in session.output
    assert "KeyboardInterrupt" in session.output
    assert "is missing" not in session.output
    assert session.events("gate_verdict") == []


@pytest.mark.fault("ctrl-c", no_scene=SHARED)
def test_requirements_after_the_interruption_are_not_run_and_say_why(interrupted: Interrupted) -> None:
    assert interrupted.session.found("H3") == ("NOT-RUN", "the session ended before its test ran")
    assert interrupted.session.found("L1")[0] == "PASS"


@pytest.mark.fault("ctrl-c", no_scene=SHARED)
@pytest.mark.requirement("H5")
def test_the_lock_is_free_after_ctrl_c(interrupted: Interrupted) -> None:
    session = run_pytest(interrupted.session.project, "validation", "-m", "smoke", "-k", "preparation")
    assert session.exit_status == 0, session.output
    assert "took over the lock" not in session.output


@pytest.mark.fault("second-harness", no_scene=SHARED)
@pytest.mark.requirement("H5", "L2")
def test_a_second_session_is_refused_and_names_the_first(interrupted: Interrupted) -> None:
    refused = interrupted.refused
    assert refused.exit_status == 1, refused.output
    assert re.search(rf"Another run of the project .* is active, by PID {interrupted.pid} on ", refused.output)
    assert f"run {interrupted.session.run.name}" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.fault("second-harness", no_scene=SHARED)
@pytest.mark.requirement("H5", "L2")
def test_a_refused_session_leaves_the_first_one_alone(interrupted: Interrupted) -> None:
    (chunk,) = interrupted.session.events("chunk_started")
    assert chunk["stage"] == "video_tokenizer"
    assert [event["ended"] for event in interrupted.session.events("stale_processes")] == [[]]
    assert interrupted.refused.run != interrupted.session.run
    assert interrupted.refused.events("chunk_started") == []


def storm(process: subprocess.Popen[str]) -> None:
    """An impatient person, and the machine shutting down."""
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if process.poll() is None:
            process.send_signal(number)
        time.sleep(0.1)


def terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("send", "names"),
    [
        pytest.param(storm, ["SIGINT"], marks=pytest.mark.fault("ctrl-c-again")),
        pytest.param(terminate, ["SIGTERM"], marks=pytest.mark.fault("sigterm")),
    ],
    ids=["ctrl-c-again", "sigterm"],
)
@pytest.mark.requirement("A1", "A5")
def test_a_session_that_is_asked_to_end_winds_down_once_and_in_order(
    tmp_path: Path, scene: BeginScene, send: Signalled, names: list[str]
) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, stage_script(project))
    with started(project, *ENDLESS) as process:
        wait_until(lambda: trains(project), process, "the first update")
        assert len(workers_of(project, process.pid, held.bystander.pid)) == 1
        held.hold()
        send(process)
        output, _ = process.communicate(timeout=60)
    assert workers_of(project, held.bystander.pid) == []
    session = Session(project, process.returncode, output, 0.0)
    check_interrupted(session, *names)
    assert "Traceback" not in output


@contextmanager
def on_a_terminal(project: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], None]]]:
    """A session whose controlling terminal is a pseudo-terminal, and the function that closes its window."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=project,
        env=environment(),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    os.set_blocking(master, False)
    closed = False

    def close() -> None:
        nonlocal closed
        if not closed:
            closed = True
            os.close(master)

    try:
        yield process, close
    finally:
        close()
        process.kill()
        process.wait()


@pytest.mark.fault("sighup")
@pytest.mark.requirement("A1", "A5")
def test_a_terminal_that_is_closed_ends_the_session_with_its_reports(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, stage_script(project))
    with on_a_terminal(project, *ENDLESS) as (process, close):
        wait_for(lambda: trains(project) or process.poll() is not None, "the first update")
        held.hold()
        close()
        process.wait(timeout=60)
    assert process.returncode != 0, "output to a terminal that is gone cannot be written"
    session = Session(project, 2, "", 0.0)
    check_interrupted(session, "SIGHUP")
    assert workers_of(project, held.bystander.pid) == []


AT_AN_EVENT = '''

import os, pathlib, signal, threading, time


def _signal_at(event, number):
    """From a thread of this very process, as soon as the journal holds the event."""
    journals = pathlib.Path("results").glob
    while not any(f'"event": "{event}"' in path.read_text() for path in journals("*/journal.jsonl")):
        time.sleep(0.001)
    os.kill(os.getpid(), number)


threading.Thread(target=_signal_at, args=("EVENT", signal.NUMBER), daemon=True).start()
'''


def signal_at(project: Path, event: str, name: str) -> None:
    """Let the project's sessions send themselves a signal once this event is in their journal."""
    conftest = project / "conftest.py"
    conftest.write_text(conftest.read_text() + AT_AN_EVENT.replace("EVENT", event).replace("NUMBER", name))


@pytest.mark.fault("signal-before-training")
@pytest.mark.requirement("A1", "A5")
def test_a_signal_before_any_child_runs_leaves_reports_too(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    scene(project, stage_script(project))
    signal_at(project, "stale_processes", "SIGTERM")
    session = run_pytest(project, "validation", "-m", "smoke")
    check_interrupted(session, "SIGTERM")
    assert session.events("chunk_started") == []


@pytest.mark.fault("ctrl-c-during-reports")
@pytest.mark.requirement("A1", "A5")
def test_a_signal_while_the_reports_are_written_lets_them_be_finished(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    scene(project, stage_script(project))
    signal_at(project, "requirement", "SIGINT")
    session = run_pytest(project, "validation", "-m", "smoke", "-k", "preparation")
    check_interrupted(session, "SIGINT")
    assert "The run was interrupted while its reports were written. Before that it said: " in session.output
    assert [event["status"] for event in session.events("run_finished")] == ["partial", "interrupted"]
    assert {"A1", "A2", "A5", "A6"} <= {event["id"] for event in session.events("report_written")}


@pytest.mark.fault("sigkill-harness")
@pytest.mark.requirement("L1", "L2", "H5")
def test_workers_of_a_harness_that_was_killed_are_ended_and_their_log_says_so(
    tmp_path: Path, scene: BeginScene
) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, stage_script(project))
    with started(project, *ENDLESS, "--nproc-per-node", "2") as process:
        wait_until(lambda: trains(project), process, "the first update")
        workers = workers_of(project, process.pid, held.bystander.pid)
        assert len(workers) >= 3
        held.hold()
        process.kill()
        process.wait()
        wait_for(lambda: workers_of(project, held.bystander.pid) == [], "the end of the workers")
    (log,) = project.glob("results/*/logs/chunk_001_video_tokenizer.log")
    note = f"[tinyworlds_gate] the harness (PID {process.pid}) died while this ran; ended: PID "
    wait_for(lambda: note in log.read_text(), "the tether's last words")
    (line,) = [line for line in log.read_text().splitlines() if note in line]
    assert sum(f"PID {pid} (" in line for pid in workers) >= 3

    session = run_pytest(project, "validation", "-m", "smoke", "-k", "preparation")
    assert session.exit_status == 0, session.output
    assert f"took over the lock of a run that died: PID {process.pid} on " in session.output
    assert session.found("L1") == ("PASS", "no stale training process was found")


@pytest.mark.fault("sigkill-harness-and-tether")
@pytest.mark.requirement("L1")
def test_workers_that_nobody_could_end_are_ended_by_the_next_run(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, stage_script(project))
    with started(project, *ENDLESS) as process:
        wait_until(lambda: trains(project), process, "the first update")
        children = psutil.Process(process.pid).children()
        (tether,) = [one for one in children if "tinyworlds_gate.launch.processes.tether" in one.cmdline()]
        (worker,) = workers_of(project, process.pid, held.bystander.pid)
        held.hold()
        os.kill(worker, signal.SIGSTOP)  # else the next line that it prints would end it: nobody reads them any more
        tether.kill()
        process.kill()
        process.wait()
        assert is_running(worker), "nobody is left to end it"
        session = run_pytest(project, "validation", "-m", "smoke", "-k", "preparation")
    assert session.exit_status == 0, session.output
    (event,) = session.events("stale_processes")
    assert [(record["pid"], record["outcome"]) for record in event["ended"]] == [(worker, "ended")]
    assert session.found("L1") == ("PASS", f"1 stale training process(es) found and ended (PID {worker})")
    assert f"| {worker} | before | " in session.report("A1")
