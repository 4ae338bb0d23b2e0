"""Processes that die, fail, or leave too little: the rows of rows_processes.py.

pytest tests/faults/test_processes.py -m "slow or not slow"
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.ranks import STAGE, UPDATES, RankProject, rank_project
from tests.faults.runs import faulty_project, reports_of
from tinyworlds_gate.stages.controller import StageController


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights at the end of the same run without any fault."""
    project = rank_project(tmp_path_factory.mktemp("undisturbed"))
    assert project.train().verdict == "PASS"
    assert len(project.events("chunk_started")) == 1
    return project.weights


def train_through(project: RankProject) -> dict[str, str]:
    """Train to the end: one chunk fails, the second starts at update 12 and passes; returns the reports."""
    result = project.train()
    assert (result.verdict, result.updates) == ("PASS", UPDATES), result.reason
    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, UPDATES), (12, UPDATES)]
    (retune,) = project.events("retune")
    assert retune["proceed"]
    reports = reports_of(project.context.layout)
    assert "It helped: the gate of chunk 2 said continue" in reports["A5"]
    return reports


KILLS = [
    pytest.param(
        'kill("KILL", os.getppid())', 1, "it was ended by SIGKILL after", marks=pytest.mark.fault("kill-launcher")
    ),
    pytest.param(
        'kill("TERM", os.getppid())', 1, "the launcher was signalled", marks=pytest.mark.fault("terminate-launcher")
    ),
    pytest.param('kill("KILL", os.getpid())', 0, "rank 0 was ended by SIGKILL", marks=pytest.mark.fault("kill-rank-0")),
    pytest.param('kill("KILL", os.getpid())', 1, "rank 1 was ended by SIGKILL", marks=pytest.mark.fault("kill-rank-1")),
    pytest.param(
        'kill("TERM", os.getpid())', 1, "rank 1 was ended by SIGTERM", marks=pytest.mark.fault("terminate-rank-1")
    ),
]


@pytest.mark.requirement("T6", "L2", "H5", "S4", "H7")
@pytest.mark.parametrize(
    ("code", "rank", "told"), KILLS, ids=["launcher-KILL", "launcher-TERM", "rank-0-KILL", "rank-1-KILL", "rank-1-TERM"]
)
def test_whoever_is_ended_from_outside_the_weights_at_the_end_are_the_same(
    tmp_path: Path, scene: BeginScene, undisturbed: str, code: str, rank: int, told: str
) -> None:
    project = rank_project(tmp_path, scene)
    project.arm(code, rank=rank)
    reports = train_through(project)
    assert project.weights == undisturbed

    killed, good = project.events("chunk_finished")
    assert (killed["cause"], good["cause"]) == ("killed", "ok")
    assert len(killed["workers"]) == 2
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"], retune["effective_batch"]) == ("T6", {}, [8, 8])
    assert any("Somebody ended the chunk from outside" in sentence for sentence in project.said)

    assert "It was ended from outside; " in reports["A6"]
    assert "T6: killed: it " in reports["A5"]
    assert told in reports["A5"]
    if killed["signal"] == "SIGKILL":
        orphans = {worker["pid"] for worker in killed["workers"]}
        ended = {record["pid"]: record["outcome"] for record in killed["ended"]}
        assert {ended.get(pid) for pid in orphans} == {"ended"}
        assert all(str(pid) in reports["A1"] for pid in orphans)


FAILURES = [
    pytest.param(
        'raise ValueError("a rank fails")', "ValueError: a rank fails", marks=pytest.mark.fault("exception-in-rank")
    ),
    pytest.param("ctypes.string_at(0)", "rank 1 was ended by SIGSEGV", marks=pytest.mark.fault("segfault-in-rank")),
    pytest.param("os._exit(0)", " by peer", marks=pytest.mark.fault("rank-exits-0-early")),
]


@pytest.mark.requirement("T1", "H9", "S4")
@pytest.mark.parametrize(("code", "told"), FAILURES, ids=["exception", "segfault", "exit-0"])
def test_a_worker_that_fails_by_itself_halves_the_batch(
    tmp_path: Path, scene: BeginScene, code: str, told: str
) -> None:
    project = rank_project(tmp_path, scene)
    project.arm(code, rank=1)
    reports = train_through(project)

    failed = project.events("chunk_finished")[0]
    assert (failed["exit_code"], failed["cause"]) == (1, "runtime_error")
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [4, 2]})
    assert retune["effective_batch"] == [8, 4]
    assert "It stopped with an error; " in reports["A6"]
    assert "T1: runtime_error: it exited with code 1 after" in reports["A5"]
    assert told in reports["A5"]


@pytest.mark.slow
@pytest.mark.fault("rank-exits-0-other-waits")
@pytest.mark.requirement("T1", "S4")
def test_a_worker_that_waits_for_one_that_has_left_is_ended_by_the_watchdog(tmp_path: Path, scene: BeginScene) -> None:
    project = rank_project(tmp_path, scene, stall_s=30.0)
    project.arm("os._exit(0)", rank=1)
    project.arm('while not (here / "never").exists(): time.sleep(0.1)', rank=0)
    reports = train_through(project)

    failed = project.events("chunk_finished")[0]
    assert failed["cause"] == "timeout"
    assert any("in after_step" in line for line in failed["log_tail"]), "the stack of the waiting rank"
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [4, 2]})
    assert "It ran too long and was ended; " in reports["A6"]
    assert "in after_step" in reports["A6"]
    assert "T1: timeout: it was stopped by the harness" in reports["A5"]
    assert "it made no step for 30 s after step " in reports["A5"]


DIVERGENCES = [
    pytest.param(1, 14, "the loss of update 15 is nan", marks=pytest.mark.fault("nan-loss")),
    pytest.param(0, UPDATES - 1, "values that are not finite", marks=pytest.mark.fault("nan-weights-at-save")),
]


@pytest.mark.requirement("S4", "T2")
@pytest.mark.parametrize(("rank", "update", "told"), DIVERGENCES, ids=["loss", "weights"])
def test_a_training_that_diverged_turns_its_learning_rate_and_keeps_its_batch(
    tmp_path: Path, scene: BeginScene, rank: int, update: int, told: str
) -> None:
    project = rank_project(tmp_path, scene)
    project.arm("weights.data.fill_(float('nan'))", rank=rank, update=update)
    reports = train_through(project)

    diverged = project.events("chunk_finished")[0]
    assert diverged["checkpoint"] is None
    assert diverged["failure"]["cause"] == "stage_gate"
    assert diverged["exit_code"] == (0 if update == UPDATES - 1 else 1)
    (retune,) = project.events("retune")
    assert retune["id"] == "T2"
    assert retune["changes"]["learning_rate"] == [3e-3, 1.5e-3]
    assert "batch_size_per_gpu" not in retune["changes"]
    assert told in " ".join(diverged["problems"])
    assert told in reports["A6"]
    assert told in reports["A5"]


@pytest.mark.fault("exit-0-without-checkpoint")
@pytest.mark.requirement("S4", "T1", "M2")
def test_exit_0_without_a_checkpoint_does_not_count(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    project.plan(STAGE, {}, {"no_checkpoint": True})
    assert StageController(project.context, STAGE, {}).train(8).verdict == "PASS"

    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, 4), (4, 8), (4, 8)]
    failed = project.events("chunk_finished")[1]
    assert (failed["exit_code"], failed["checkpoint"]) == (0, None)
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [8, 4]})
    assert project.lives(STAGE)[2]["checkpoint"].endswith("video_tokenizer_step_3")

    reports = reports_of(project.context.layout)
    assert "Missing or wrong: no checkpoint video_tokenizer_step_7 was written." in reports["A6"]
    assert "T1: runtime_error: no checkpoint video_tokenizer_step_7 was written" in reports["A5"]


@pytest.mark.fault("exit-0-stale-png")
@pytest.mark.requirement("S4", "M1", "M2", "M3")
def test_exit_0_with_nothing_but_a_stale_picture_does_not_count(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    project.plan(STAGE, {}, {"no_checkpoint": True, "no_picture": True, "skip_rows": [4, 5, 6, 7]})
    assert StageController(project.context, STAGE, {}).train(8).verdict == "PASS"

    assert (project.context.layout.visualizations(STAGE) / "video_tokenizer_step_3.png").exists()
    stale = project.events("chunk_finished")[1]
    assert (stale["exit_code"], stale["visualization"]) == (0, None)
    assert {name: channel["verdict"] for name, channel in stale["channels"].items()} == dict.fromkeys(
        ("M1", "M2", "M3"), "INVALID"
    )
    assert [event["decision"] for event in project.events("stage_gate")] == ["continue", "continue"]

    reports = reports_of(project.context.layout)
    for problem in ("the history has no row for the updates 4 to 7", "no new whole picture (PNG) appeared"):
        assert f"Missing or wrong: {problem}." in reports["A6"]
    assert "INVALID INVALID INVALID" in reports["A6"]
