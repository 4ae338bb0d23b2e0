"""Processes that die, fail, or leave too little: the rows of rows_processes.py.

What happens to ranks happens in two runs, one fault a launch: a launch of two workers takes seconds to start.

pytest tests/faults/test_processes.py -m "slow or not slow"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.ranks import SAVED_EVERY, STAGE, UPDATES, RankProject, rank_project
from tests.faults.runs import faulty_project, reports_of
from tests.faults.scene import scene_of
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.run.formats import duration_text

KILLS = {
    "kill-launcher": ('kill("KILL", os.getppid())', 1),
    "terminate-launcher": ('kill("TERM", os.getppid())', 1),
    "kill-rank-0": ('kill("KILL", os.getpid())', 0),
    "kill-rank-1": ('kill("KILL", os.getpid())', 1),
    "terminate-rank-1": ('kill("TERM", os.getpid())', 1),
}
FAILURES = {
    "exception-in-rank": ('raise ValueError("a rank fails")', 1),
    "segfault-in-rank": ("ctypes.string_at(0)", 1),
    "rank-exits-0-early": ("os._exit(0)", 1),
    "nan-loss": ("weights.data.fill_(float('nan'))", 1),
    "nan-weights-at-save": ("weights.data.fill_(float('nan'))", 0),
}
BATCH = 16
"""Of the failing run: three halvings leave it above 1."""

IN_A_RUN = "the fixture's run uses a scene"


@dataclass(frozen=True)
class FaultyRun:
    """A run that met one fault a launch and ended well: what the journal and the reports hold."""

    project: RankProject
    faults: Sequence[str]
    reports: Mapping[str, str]

    def chunk(self, fault: str) -> dict[str, Any]:
        """``chunk_finished`` of the launch that met the fault."""
        return self.project.events("chunk_finished")[self.faults.index(fault)]

    def retune(self, fault: str) -> dict[str, Any]:
        """What answered it."""
        return self.project.events("retune")[self.faults.index(fault)]

    def section(self, fault: str) -> str:
        """The part of A6 about its chunk."""
        number = self.faults.index(fault) + 1
        return self.reports["A6"].partition(f"### Chunk {number}: ")[2].partition(f"### Chunk {number + 1}: ")[0]


def run_through(root: Path, faults: Mapping[str, tuple[str, int]], *, batch: int = 4) -> FaultyRun:
    """Train to the end with these faults, (code, rank), one after the other; each launch but the last fails.

    The scene ends with the run: the bystander lives and nothing is lost.
    """
    with ExitStack() as stack:
        project = rank_project(root, lambda *where: stack.enter_context(scene_of(*where)), batch=batch)
        for launch, (name, (code, rank)) in enumerate(faults.items()):
            update = UPDATES - 1 if name == "nan-weights-at-save" else SAVED_EVERY + 2
            project.arm(code, rank=rank, launch=launch, update=update)
        result = project.train()
    assert (result.verdict, result.updates) == ("PASS", UPDATES), result.reason
    return FaultyRun(project, list(faults), reports_of(project.context.layout))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights at the end of the same run without any fault."""
    project = rank_project(tmp_path_factory.mktemp("undisturbed"))
    assert project.train().verdict == "PASS"
    assert len(project.events("chunk_started")) == 1
    return project.weights


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> FaultyRun:
    """A run of which somebody ends a process in five launches."""
    return run_through(tmp_path_factory.mktemp("killed"), KILLS)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> FaultyRun:
    """A run that fails by itself in five launches."""
    return run_through(tmp_path_factory.mktemp("failed"), FAILURES, batch=BATCH)


@pytest.mark.requirement("T6", "S4", "H7", "H9")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(
            "kill-launcher",
            "it was ended by SIGKILL after",
            marks=pytest.mark.fault("kill-launcher", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "terminate-launcher",
            "the launcher was signalled",
            marks=pytest.mark.fault("terminate-launcher", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "kill-rank-0",
            "rank 0 was ended by SIGKILL",
            marks=pytest.mark.fault("kill-rank-0", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "kill-rank-1",
            "rank 1 was ended by SIGKILL",
            marks=pytest.mark.fault("kill-rank-1", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "terminate-rank-1",
            "rank 1 was ended by SIGTERM",
            marks=pytest.mark.fault("terminate-rank-1", no_scene=IN_A_RUN),
        ),
    ],
)
@pytest.mark.slow
def test_whoever_is_ended_from_outside_the_weights_at_the_end_are_the_same(
    undisturbed: str, killed: FaultyRun, fault: str, message: str
) -> None:
    assert killed.project.weights == undisturbed
    chunk, retune = killed.chunk(fault), killed.retune(fault)
    assert (chunk["cause"], chunk["checkpoint"], len(chunk["workers"])) == ("killed", None, 2)
    assert chunk["continue_from"]["step"] == SAVED_EVERY - 1
    assert (retune["id"], retune["changes"], retune["effective_batch"]) == ("T6", {}, [8, 8])
    assert message in retune["cause"]
    assert f"It was killed from outside the harness after {duration_text(chunk['wall_s'])}. " in killed.section(fault)
    assert message in killed.reports["A5"]
    assert any("Somebody ended the chunk from outside" in sentence for sentence in killed.project.said)


@pytest.mark.fault("kill-launcher", no_scene=IN_A_RUN)
@pytest.mark.requirement("L2", "H5")
@pytest.mark.slow
def test_workers_whose_launcher_was_killed_are_ended_and_reported(killed: FaultyRun) -> None:
    chunk = killed.chunk("kill-launcher")
    workers = {worker["pid"] for worker in chunk["workers"]}
    ended = {record["pid"]: (record["signal"], record["outcome"]) for record in chunk["ended"]}
    assert {ended.get(pid) for pid in workers} == {("SIGTERM", "ended")}
    assert all(str(pid) in killed.reports["A1"] for pid in workers)


@pytest.mark.requirement("T6", "H5")
@pytest.mark.slow
def test_five_kills_cost_one_launch_each_and_nothing_else(killed: FaultyRun) -> None:
    spans = [(event["start_update"], event["end_update"]) for event in killed.project.events("chunk_started")]
    assert spans == [(0, UPDATES)] + [(SAVED_EVERY, UPDATES)] * 5
    assert [event["cause"] for event in killed.project.events("chunk_finished")] == ["killed"] * 5 + ["ok"]
    assert "It helped: the gate decision of chunk 6 is continue, final loss " in killed.reports["A5"]


@pytest.mark.slow
@pytest.mark.requirement("T1", "H9", "S4")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(
            "exception-in-rank",
            "rank 1 raised ValueError: a rank fails",
            marks=pytest.mark.fault("exception-in-rank", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "segfault-in-rank",
            "rank 1 was ended by SIGSEGV",
            marks=pytest.mark.fault("segfault-in-rank", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "rank-exits-0-early",
            "rank 1 left with exit code 0 before its peers",
            marks=pytest.mark.fault("rank-exits-0-early", no_scene=IN_A_RUN),
        ),
    ],
)
def test_a_worker_that_fails_by_itself_halves_the_batch(failed: FaultyRun, fault: str, message: str) -> None:
    chunk, retune = failed.chunk(fault), failed.retune(fault)
    assert (chunk["exit_code"], chunk["cause"], chunk["checkpoint"]) == (1, "runtime_error", None)
    batch = BATCH >> list(FAILURES).index(fault)
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [batch, batch // 2]})
    assert retune["effective_batch"] == [2 * batch, batch]
    assert retune["cause"].startswith("runtime_error: it exited with code 1 after ")
    assert message in retune["cause"]
    assert f"It stopped with an error after {duration_text(chunk['wall_s'])}. " in failed.section(fault)
    assert message in failed.reports["A5"]


@pytest.mark.slow
@pytest.mark.requirement("S4", "T2", "H9")
@pytest.mark.parametrize(
    ("fault", "exit_code", "message"),
    [
        pytest.param(
            "nan-loss",
            1,
            "the loss of update 15 is nan; it was on rank 1 alone",
            marks=pytest.mark.fault("nan-loss", no_scene=IN_A_RUN),
        ),
        pytest.param(
            "nan-weights-at-save",
            0,
            "values that are not finite",
            marks=pytest.mark.fault("nan-weights-at-save", no_scene=IN_A_RUN),
        ),
    ],
)
def test_a_training_that_diverged_turns_its_learning_rate_and_keeps_its_batch(
    failed: FaultyRun, fault: str, exit_code: int, message: str
) -> None:
    chunk, retune = failed.chunk(fault), failed.retune(fault)
    assert (chunk["exit_code"], chunk["checkpoint"], chunk["failure"]["cause"]) == (exit_code, None, "stage_gate")
    assert retune["id"] == "T2"
    old, new = retune["changes"]["learning_rate"]
    assert new == old / 2
    assert "batch_size_per_gpu" not in retune["changes"]
    assert message in retune["cause"]
    assert message in failed.section(fault)
    assert message in failed.reports["A5"]


@pytest.mark.slow
@pytest.mark.fault("rank-exits-0-other-waits")
@pytest.mark.requirement("T1", "S4")
def test_a_worker_that_waits_for_one_that_has_left_is_ended_by_the_watchdog(tmp_path: Path, scene: BeginScene) -> None:
    project = rank_project(tmp_path, scene, stall_s=30.0)
    project.arm("os._exit(0)", rank=1, update=14)
    project.arm('while not (here / "never").exists(): time.sleep(0.1)', rank=0, update=14)
    assert project.train().verdict == "PASS"

    hung = project.events("chunk_finished")[0]
    assert (hung["cause"], hung["continue_from"]["step"]) == ("timeout", SAVED_EVERY - 1)
    assert any("in after_step" in line for line in hung["log_tail"]), "the stack of the waiting rank"
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [4, 2]})
    reports = reports_of(project.context.layout)
    assert f"It ran too long and was ended after {duration_text(hung['wall_s'])}. " in reports["A6"]
    assert "in after_step" in reports["A6"]
    assert "T1: timeout: it was stopped by the harness" in reports["A5"]
    assert "it made no step for 30 s after step " in reports["A5"]
    assert "; rank 1 left with exit code 0 before its peers" in reports["A5"]


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
