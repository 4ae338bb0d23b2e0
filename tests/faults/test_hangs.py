"""Workers that hang, deadlines, a harness that is stopped, and the outer nets: rows of rows_interrupts.py.

pytest tests/faults/test_hangs.py -m "slow or not slow"
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.conftest import BeginScene
from tests.faults.ranks import UPDATES, rank_project
from tests.faults.runs import reports_of
from tests.faults.walkers import STAGE, walking_project
from tests.helpers.config_files import REPOSITORY
from tests.helpers.fake_stages import FakeProject
from tests.helpers.process_projects import first_line, wait_for
from tests.helpers.tiny_project import Session, make_project, processes_of, run_pytest, started, wait_until
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.loop.inference_gate import inference_job
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.run.formats import duration_text
from tinyworlds_gate.run.heartbeat import HeartbeatReader
from tinyworlds_gate.run.journal import read_journal
from tinyworlds_gate.targets.embedded import embedded_target

STALL_S = 5.0


def train_through_a_hang(project: FakeProject) -> tuple[dict[str, Any], dict[str, str]]:
    """Two chunks, of which the second hangs once: it is ended, counted as a runtime failure and tried again.

    Returns the event of the chunk that hung, and the reports.
    """
    assert StageController(project.context, STAGE, {}).train(8).verdict == "PASS"
    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, 4), (4, 8), (4, 8)]
    good, hung, again = project.events("chunk_finished")
    assert (good["cause"], hung["cause"], again["cause"]) == ("ok", "timeout", "ok")
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [8, 4]})
    assert project.lives(STAGE)[2]["checkpoint"].endswith("video_tokenizer_step_3")
    reports = reports_of(project.context.layout)
    assert f"It ran too long and was ended after {duration_text(hung['wall_s'])}. " in reports["A6"]
    assert "T1: timeout: it was stopped by the harness" in reports["A5"]
    (worker,) = hung["workers"]
    assert f"| {worker['pid']} | chunk 2 | " in reports["A1"]
    return hung, reports


HANGS = [
    pytest.param(
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "SIGTERM",
        " is stopped (SIGSTOP)",
        marks=pytest.mark.fault("stop-worker"),
    ),
    pytest.param("while True: pass", "SIGTERM", "", marks=pytest.mark.fault("endless-loop")),
    pytest.param(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)",
        "SIGKILL",
        "",
        marks=pytest.mark.fault("deaf-worker"),
    ),
]


@pytest.mark.parametrize(("code", "ended_by", "message"), HANGS, ids=["stopped", "endless loop", "deaf to SIGTERM"])
@pytest.mark.requirement("T1", "L2")
def test_a_worker_that_hangs_shows_its_stack_and_is_ended(
    tmp_path: Path, scene: BeginScene, code: str, ended_by: str, message: str
) -> None:
    project = walking_project(tmp_path, scene, stall_s=STALL_S)
    project.plan(STAGE, {}, {"at": 6, "do": code, "seconds_per_update": 1.0})
    hung, reports = train_through_a_hang(project)

    assert f"it made no step for {STALL_S:g} s after step 5" in reports["A5"]
    assert message in reports["A5"]
    (record,) = hung["ended"]
    assert (record["signal"], record["outcome"]) == (ended_by, "ended")
    assert any("in walk" in line for line in hung["log_tail"]), "the stack of the worker"
    assert "in walk" in reports["A6"]


@pytest.mark.fault("hang-before-first-step")
@pytest.mark.requirement("T1", "L2")
def test_a_worker_that_hangs_before_its_first_heartbeat_shows_its_stack_too(tmp_path: Path, scene: BeginScene) -> None:
    project = walking_project(tmp_path, scene, stall_s=STALL_S)
    project.plan(STAGE, {}, {"before": "def joins_the_group():\n    time.sleep(600)\njoins_the_group()"})
    hung, reports = train_through_a_hang(project)
    assert f"it made no step for {STALL_S:g} s and never finished a first one" in reports["A5"]
    assert any("in joins_the_group" in line for line in hung["log_tail"])
    (record,) = hung["ended"]
    assert (record["signal"], record["outcome"]) == ("SIGABRT", "ended")
    assert not list(tmp_path.rglob("core*")), "no core file fills the disk"


@pytest.mark.fault("chunk-deadline")
@pytest.mark.requirement("T1", "L2")
def test_a_chunk_that_steps_for_ever_is_ended_at_its_deadline(tmp_path: Path, scene: BeginScene) -> None:
    project = walking_project(tmp_path, scene, deadline_s=6.0)
    project.plan(STAGE, {}, {"seconds_per_update": 2.0})
    _, reports = train_through_a_hang(project)
    assert "it ran longer than its deadline of 6 s" in reports["A5"]


@pytest.mark.fault("inference-deadline")
@pytest.mark.requirement("G1", "L6")
def test_an_inference_run_past_its_deadline_is_ended_and_fails_its_gate(tmp_path: Path, scene: BeginScene) -> None:
    project = walking_project(tmp_path, scene, inference_deadline_s=2.0)
    context = project.context
    context.target.inference_script.write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    nowhere = {stage: CheckpointRef(stage, 0, tmp_path / stage, "0" * 64, 1) for stage in context.target.stage_scripts}
    attempt = run_attempt(inference_job(context), 1, nowhere)
    (g1,) = [one for one in attempt.verdict.conditions if one.id == "G1"]
    assert g1.verdict == "FAIL"
    (finished,) = project.events("inference_finished")
    assert (finished["cause"], finished["exit_code"]) == ("timeout", None)
    (record,) = finished["ended"]
    assert (record["signal"], record["outcome"]) == ("SIGTERM", "ended")
    assert f"| {record['pid']} | inference attempt 1 | " in reports_of(context.layout)["A1"]


@pytest.mark.slow
@pytest.mark.fault("stop-rank")
@pytest.mark.requirement("T1", "L2", "H5")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_stopped_is_named_and_both_ranks_show_their_stacks(
    tmp_path: Path, scene: BeginScene, rank: int
) -> None:
    project = rank_project(tmp_path, scene, stall_s=25.0)
    project.arm('kill("STOP", os.getpid())', rank=rank, update=14)
    result = project.train()
    assert (result.verdict, result.updates) == ("PASS", UPDATES), result.reason
    hung, good = project.events("chunk_finished")
    assert (hung["cause"], good["cause"]) == ("timeout", "ok")
    pids = {worker["rank"]: worker["pid"] for worker in hung["workers"]}
    log = project.context.layout.chunk_log(1, STAGE).read_text()
    assert log.count("most recent call first") >= 2, "a stack of each rank"
    assert "in after_step" in log, "where the stopped rank stood"
    reports = reports_of(project.context.layout)
    assert f"; rank {rank} (PID {pids[rank]}) is stopped (SIGSTOP)" in reports["A5"]
    assert f"; rank {1 - rank} (PID" not in reports["A5"]
    ended = {record["pid"]: record["outcome"] for record in hung["ended"]}
    assert {ended.get(pid) for pid in pids.values()} <= {"ended", "already gone"}


# The harness itself is stopped.

HARNESS = """
import json, sys
from pathlib import Path
from tests.faults.walkers import STAGE, walking_project
from tinyworlds_gate.loop.stage_controller import StageController
project = walking_project(Path(sys.argv[1]), None, stall_s=6.0, deadline_s=12.0)
project.plan(STAGE, {}, {"seconds_per_update": 0.8})
print("begun", flush=True)
print(StageController(project.context, STAGE, {}).train(8).verdict, flush=True)
"""


@pytest.mark.slow
@pytest.mark.fault("stopped-harness")
@pytest.mark.requirement("T1")
@pytest.mark.parametrize("with_worker", [True, False], ids=["and its worker", "alone"])
def test_a_harness_that_was_stopped_for_a_while_ends_nobody_because_of_it(
    tmp_path: Path, scene: BeginScene, with_worker: bool
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(root)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first_line(harness) == "begun\n"
    held = scene(root, root / "scripts" / f"train_{STAGE}.py")
    beats = root / "results" / "run_1" / "heartbeats" / "chunk_002"
    wait_for(lambda: any(beat.step >= 4 for beat in HeartbeatReader(beats).poll()), "a step of the second chunk")
    held.hold()
    stopped = [harness.pid, *({HeartbeatReader(beats).poll()[-1].pid} if with_worker else ())]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(15.0)  # the fault itself: longer than the watchdog's patience and the chunk's deadline
    for pid in reversed(stopped):
        os.kill(pid, signal.SIGCONT)
    output, _ = harness.communicate(timeout=60)
    assert output == "PASS\n"
    events = read_journal(root / "results" / "run_1" / "journal.jsonl")
    assert [event["cause"] for event in events if event["event"] == "chunk_finished"] == ["ok", "ok"]


# The outer nets: pytest-timeout and pytest's faulthandler_timeout.


def stage_script(project: Path) -> Path:
    return embedded_target(project, Path("configs/profiles/smoke")).stage_script("video_tokenizer")


@pytest.mark.fault("pytest-timeout")
@pytest.mark.requirement("L2", "A1")
def test_a_timeout_of_pytest_ends_the_workers_and_no_test_after_it_trains_again(
    tmp_path: Path, scene: BeginScene
) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, stage_script(project))
    words = ["validation", "-m", "smoke", "--target-updates", "100000", "--video-chunk", "100000"]
    with started(project, *words, "-o", "timeout=3600") as process:
        wait_until(lambda: any(project.glob("results/*/heartbeats/*/*")), process, "the first update")
        held.hold()
        process.send_signal(signal.SIGALRM)  # what pytest-timeout's timer sends when the hour is over
        output, _ = process.communicate(timeout=60)
    assert [one.pid for one in processes_of(project)] == [held.bystander.pid]
    session = Session(project, process.returncode, output, 0.0)
    assert session.exit_status == 1
    assert "Timeout (>3600.0s) from pytest-timeout" in output
    (chunk,) = session.events("chunk_started")
    assert chunk["stage"] == "video_tokenizer"
    assert session.events("run_finished")[0]["status"] == "failed"
    assert "FAIL: video_tokenizer: broken off: Timeout (>3600.0s) from pytest-timeout." in output
    for id in ("A1", "A5"):
        assert "broken off: Timeout (>3600.0s) from pytest-timeout" in session.report(id)


SLOW_START = '''

import time
import pytest


@pytest.fixture(autouse=True, scope="session")
def a_step_that_takes_longer_than_every_net(closed_loop):
    """What a stage of days is to a timeout of half an hour."""
    time.sleep(3)
'''


@pytest.mark.fault("slower-than-the-nets")
@pytest.mark.requirement("H1")
def test_a_healthy_long_run_is_longer_than_every_net_of_pytest(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    scene(project, stage_script(project))
    conftest = project / "conftest.py"
    conftest.write_text(conftest.read_text() + SLOW_START)
    profile = project / "configs/profiles/tiny-long"
    shutil.copytree(project / "configs/profiles/smoke", profile)
    values = yaml.safe_load((profile / "profile.yaml").read_text())
    (profile / "profile.yaml").write_text(yaml.safe_dump(values | {"name": "tiny-long", "kind": "longrun"}))
    nets = ["-o", "timeout=1", "-o", "faulthandler_timeout=1", "--allow-cpu-longrun", "true"]
    words = ["validation", "-m", "longrun", "--profile", "tiny-long", "-k", "git_history", *nets]
    session = run_pytest(project, *words)
    assert "1 passed" in session.output, session.output
    assert "Timeout" not in session.output
    assert "most recent call first" not in session.output, "no stack dump frightens a person"
