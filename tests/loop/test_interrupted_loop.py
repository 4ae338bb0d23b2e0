"""Ctrl-C while a stage trains, and a second session beside it."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace

import pytest

from tests.helpers.tiny_project import (
    Session,
    make_project,
    processes_of,
    run_pytest,
    runs,
    started,
    wait_until,
)


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
    words = ["validation", "-m", "smoke", "--target-updates", "100000", "--video-chunk", "100000"]
    with started(project, *words, "--nproc-per-node", "2") as process:
        wait_until(lambda: any(project.glob("results/*/heartbeats/*/*")), process, "the first update")
        first = runs(project)[0]
        workers = [one.pid for one in processes_of(project) if one.pid != process.pid]
        refused = run_pytest(project, "validation", "-m", "smoke")
        refused = replace(refused, run_folder=next(run for run in runs(project) if run != first))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    session = Session(project, process.returncode, output, 0.0, first)
    return Interrupted(session, process.pid, refused, workers)


@pytest.mark.requirement("L2")
def test_ctrl_c_ends_every_worker(interrupted: Interrupted) -> None:
    assert len(interrupted.workers) >= 3, "torchrun and two workers"
    assert processes_of(interrupted.session.project) == []


def test_ctrl_c_exits_2_and_claims_nothing(interrupted: Interrupted) -> None:
    session = interrupted.session
    assert session.exit_status == 2, session.output
    assert "The run was interrupted before its end; nothing is claimed." in session.output
    assert "KeyboardInterrupt" in session.output
    assert "is missing" not in session.output
    assert session.events("run_finished")[0]["status"] == "interrupted"
    assert session.events("gate_verdict") == []


@pytest.mark.requirement("A1", "A5")
def test_the_reports_of_an_interrupted_run_say_so(interrupted: Interrupted) -> None:
    for id in ("A1", "A5"):
        text = interrupted.session.report(id)
        assert "interrupted" in text
        assert "**Verdict: PASS**" not in text


def test_requirements_after_the_interruption_are_not_run_and_say_why(interrupted: Interrupted) -> None:
    assert interrupted.session.found("H3") == ("NOT-RUN", "the session ended before its test ran")
    assert interrupted.session.found("L1")[0] == "PASS"


@pytest.mark.requirement("H5")
def test_the_lock_is_free_after_ctrl_c(interrupted: Interrupted) -> None:
    session = run_pytest(interrupted.session.project, "validation", "-m", "smoke", "-k", "preparation")
    assert session.exit_status == 0, session.output


@pytest.mark.requirement("H5", "L2")
def test_a_second_session_is_refused_and_names_the_first(interrupted: Interrupted) -> None:
    refused = interrupted.refused
    assert refused.exit_status == 1, refused.output
    assert re.search(rf"Another run of the project .* is active, by PID {interrupted.pid} on ", refused.output)
    assert f"run {interrupted.session.run.name}" in refused.output
    assert "Traceback" not in refused.output


def test_a_refused_session_leaves_the_first_one_alone(interrupted: Interrupted) -> None:
    (chunk,) = interrupted.session.events("chunk_started")
    assert chunk["stage"] == "video_tokenizer"
    assert [event["ended"] for event in interrupted.session.events("stale_processes")] == [[]]
    assert interrupted.refused.run != interrupted.session.run
    assert interrupted.refused.events("chunk_started") == []
