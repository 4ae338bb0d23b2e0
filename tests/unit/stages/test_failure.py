"""Why a chunk does not count: the cause and the sentence, over plain data.

pytest tests/unit/stages/test_failure.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.unit.launch.test_nodes import chunk
from tinyworlds_gate.launch.launcher import Worker
from tinyworlds_gate.launch.raised import Raised
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence
from tinyworlds_gate.stages.chunk_history import ChunkHistory
from tinyworlds_gate.stages.failure import Failure, failure_of

GONE = Raised("FileNotFoundError", "a.py:1", "no such file")


def evidence(*problems: str, updates: int = 8, loss: float = 0.1, **more: Any) -> ChunkEvidence:
    steps = list(range(updates))
    history = ChunkHistory(steps, [loss] * updates, [1e-3] * updates, [], [], 1.0)
    return ChunkEvidence(None, history, None, {}, problems, **more)


def failure(tmp_path: Path, cause: str, found: ChunkEvidence | None = None, **changes: Any) -> Failure | None:
    return failure_of(chunk(tmp_path, cause, **changes), found or evidence(), 8, guard_applies=True)


@pytest.mark.requirement("T1", "T6")
def test_a_failure_on_another_node_comes_first_in_the_sentence(tmp_path: Path) -> None:
    alone = failure(tmp_path, "out_of_memory")
    assert alone is not None
    assert alone.reason == "it exited with code 1 after 3.0 s (log: chunk.log)"
    other = failure(tmp_path, "out_of_memory", node_problem="node 1 (host-b): it ran out of memory")
    assert other is not None
    assert other.reason == f"node 1 (host-b): it ran out of memory; on node 0 {alone.reason}"


@pytest.mark.requirement("T1", "T6")
@pytest.mark.parametrize(
    ("cause", "raised", "expected"),
    [
        ("out_of_memory", (), "out_of_memory"),
        ("timeout", (), "timeout"),
        ("killed", (), "killed"),
        ("node_lost", (), "node_lost"),
        ("runtime_error", (), "runtime_error"),
        ("a cause of tomorrow", (), "runtime_error"),
        ("runtime_error", (GONE,), "setup_error"),
        ("out_of_memory", (GONE,), "out_of_memory"),
    ],
)
def test_a_cause_without_a_ladder_is_a_runtime_error_and_one_that_no_batch_mends_a_setup_error(
    tmp_path: Path, cause: str, raised: tuple[Raised, ...], expected: str
) -> None:
    found = failure(tmp_path, cause, raised=raised)
    assert found is not None
    assert (found.cause, found.raised) == (expected, raised)


@pytest.mark.requirement("S4")
def test_a_full_disk_names_the_stage_and_its_log(tmp_path: Path) -> None:
    found = failure(tmp_path, "disk_full", disk_problem="no space left on /data")
    assert found is not None
    assert (found.cause, found.raised) == ("disk_full", ())
    assert found.reason == f"dynamics stopped: no space left on /data (its log: {tmp_path / 'chunk.log'})"


@pytest.mark.requirement("S4", "T2")
@pytest.mark.parametrize(
    "found", [evidence("a loss is NaN", "b", loss=math.nan), evidence("a loss is NaN", "b", non_finite_weights=True)]
)
@pytest.mark.parametrize("cause", ["ok", "out_of_memory", "disk_full"])
def test_a_divergence_is_the_trainings_own_failure_however_the_launcher_ended(
    tmp_path: Path, found: ChunkEvidence, cause: str
) -> None:
    assert failure(tmp_path, cause, found) == Failure("stage_gate", "a loss is NaN; b")


@pytest.mark.requirement("S4", "A6")
def test_a_divergence_that_began_on_one_rank_names_it(tmp_path: Path) -> None:
    message = "dynamics: the loss of update 7 is nan, on rank 1 alone; nothing was saved after it"
    raised = (Raised("error", None, message),)
    found = failure(tmp_path, "runtime_error", evidence("the loss of update 7 is nan", loss=math.nan), raised=raised)
    assert found == Failure("stage_gate", "the loss of update 7 is nan; it was on rank 1 alone")


@pytest.mark.requirement("A5", "A6")
def test_the_rank_that_failed_first_is_in_the_sentence(tmp_path: Path) -> None:
    culprit = "rank 1 raised ValueError: 3"
    crashed = failure(tmp_path, "runtime_error", culprit=culprit)
    assert crashed is not None
    assert crashed.reason == f"it exited with code 1 after 3.0 s: {culprit} (log: chunk.log)"
    full = failure(tmp_path, "disk_full", disk_problem="no space left on /data", culprit="rank 0 raised OSError: 28")
    assert full is not None
    assert full.reason.startswith("dynamics stopped: no space left on /data; rank 0 raised OSError: 28 (its log: ")


@pytest.mark.requirement("A5", "A6")
@pytest.mark.parametrize(("worker", "named"), [(11, True), (10, False)], ids=["torchrun", "a single process"])
def test_a_signal_to_the_launcher_is_not_taken_for_one_to_a_worker(tmp_path: Path, worker: int, named: bool) -> None:
    workers = (Worker(0, worker, "cpu", 3, None),)
    killed = failure(tmp_path, "killed", exit_code=None, signal="SIGKILL", launcher_pid=10, workers=workers)
    assert killed is not None
    assert ("the launcher got the signal, no worker did" in killed.reason) is named


@pytest.mark.requirement("H6")
def test_a_chunk_counts_with_its_evidence_and_that_of_its_devices_where_it_applies(tmp_path: Path) -> None:
    assert failure(tmp_path, "ok") is None
    for seen in (False, None):
        found = failure(tmp_path, "ok", dual_gpu_ok=seen, dual_gpu_reason="GPU 1 was idle")
        assert found == Failure("guard", "the device check failed: GPU 1 was idle")
        lost = chunk(tmp_path, dual_gpu_ok=seen)
        assert failure_of(lost, evidence(), 8, guard_applies=False) is None


@pytest.mark.requirement("S4", "T1")
def test_missing_evidence_after_exit_code_0_has_what_the_log_shows(tmp_path: Path) -> None:
    lost = failure(tmp_path, "ok", evidence("no checkpoint", "no picture"), raised=(GONE,))
    assert lost is not None
    assert lost.cause == "setup_error"
    assert lost.reason == f"no checkpoint; no picture (its log shows {GONE.sentence()})"
    assert lost.raised == (GONE, Raised("exit code 0", None, "no checkpoint; no picture"))
    silent = failure(tmp_path, "ok", evidence("no checkpoint", updates=0))
    assert silent is not None
    assert (silent.cause, silent.reason) == ("runtime_error", "no checkpoint")


@pytest.mark.requirement("S4", "T6")
@pytest.mark.parametrize(("updates", "cause"), [(8, "missing_evidence"), (7, "runtime_error"), (0, "runtime_error")])
def test_a_refused_checkpoint_is_missing_evidence_once_the_last_update_was_logged(
    tmp_path: Path, updates: int, cause: str
) -> None:
    found = failure(tmp_path, "ok", evidence("it holds no tensors", updates=updates, checkpoint_refused=True))
    assert found is not None
    assert (found.cause, found.reason) == (cause, "it holds no tensors")
