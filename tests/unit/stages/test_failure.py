"""Why a chunk does not count: the cause and the sentence, over plain data.

pytest tests/unit/stages/test_failure.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.unit.launch.test_nodes import chunk
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
