"""H6 on two real GPUs: cases that must pass and cases that must not (needs 2 NVIDIA GPUs and NCCL).

python -m pytest tests/gpu/test_two_gpus.py -m gpu --record-devices results/devices
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.chunks import Evidence, busy_stranger, gpu_chunk, plan
from tests.gpu.record import Control
from tinyworlds_gate.launch.devices.concurrency import judge_moments
from tinyworlds_gate.launch.devices.nvml import GpuInfo

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(240), pytest.mark.usefixtures("two_gpus")]

GOOD_S, SHORT_S, TURN_S = 8.0, 8.0, 4.0
PASS, MUST_NOT = "pass", "not pass"


def judged_again(control: Control, evidence: Evidence, *, hidden_pids: bool = True) -> None:
    """Judge the same samples without heartbeats, and with PIDs hidden as in a container."""
    control.said["without heartbeats"] = evidence.judged(beats=False)
    if hidden_pids:
        control.said["with hidden PIDs"] = evidence.judged(beats=True, hidden_pids=True)


@pytest.mark.requirement("H6", "L3")
def test_two_ranks_that_reduce_over_nccl_pass(tmp_path: Path, control: Control, two_gpus: list[GpuInfo]) -> None:
    control.must = PASS
    ranks = [plan(rank, seconds=GOOD_S, backend="nccl", reduce=True) for rank in (0, 1)]
    evidence = control.keep("two-gpus-nccl", gpu_chunk(tmp_path, ranks))
    control.said["by heartbeats alone: PIDs hidden"] = evidence.judged(beats=True, hidden_pids=True)
    control.said["by compute PIDs alone: no heartbeats"] = evidence.judged(beats=False)
    assert {beat.device for beat in evidence.beats} == {device.uuid for device in two_gpus}
    assert evidence.result.dual_gpu_ok is True, evidence.result.dual_gpu_reason
    assert evidence.judged(beats=True, hidden_pids=True)[0] is True
    # Where NVML shows no PID of ours (a container), nothing ties the work to this launcher without heartbeats.
    assert evidence.judged(beats=False)[0] is (True if evidence.tells_own_processes else None)


@pytest.mark.requirement("H6", "L3")
def test_two_ranks_without_heartbeats_pass_by_their_pids(tmp_path: Path, control: Control) -> None:
    control.must = "pass where NVML shows the launcher's PIDs, be unknown elsewhere"
    ranks = [plan(rank, seconds=GOOD_S, backend="nccl", reduce=True, beats=False) for rank in (0, 1)]
    evidence = control.keep("two-gpus-nccl-no-heartbeats", gpu_chunk(tmp_path, ranks))
    assert evidence.beats == []
    assert evidence.result.dual_gpu_ok is (True if evidence.tells_own_processes else None), (
        evidence.result.dual_gpu_reason
    )


@pytest.mark.requirement("H6", "L3")
def test_a_foreign_process_on_gpu_1_does_not_stand_in_for_a_rank_on_gpu_0(tmp_path: Path, control: Control) -> None:
    control.must = MUST_NOT
    ranks = [plan(0, (0, SHORT_S), seconds=SHORT_S, backend="gloo") for _ in (0, 1)]
    with busy_stranger(1):
        evidence = control.keep("foreign-busy-on-gpu-1", gpu_chunk(tmp_path, ranks))
    judged_again(control, evidence)
    assert evidence.result.dual_gpu_ok is False
    assert "the ranks share GPUs" in evidence.result.dual_gpu_reason
    assert evidence.judged(beats=False)[0] is (False if evidence.tells_own_processes else None)


@pytest.mark.requirement("H6", "L3")
def test_an_idle_context_on_gpu_1_is_no_work_though_its_steps_grow(tmp_path: Path, control: Control) -> None:
    control.must = MUST_NOT
    ranks = [
        plan(0, (0, SHORT_S), seconds=SHORT_S, backend="gloo"),
        plan(1, seconds=SHORT_S, backend="gloo", idle_steps=True),
    ]
    evidence = control.keep("idle-context-on-gpu-1", gpu_chunk(tmp_path, ranks))
    judged_again(control, evidence)
    assert [ok for ok, _ in control.said.values()] == [False, False, False]


@pytest.mark.requirement("H6", "L3")
def test_a_foreign_process_beside_an_idle_context_on_gpu_1_is_no_work_of_ours(tmp_path: Path, control: Control) -> None:
    control.must = MUST_NOT
    ranks = [
        plan(0, (0, SHORT_S), seconds=SHORT_S, backend="gloo", beats=False),
        plan(1, seconds=SHORT_S, backend="gloo", beats=False),
    ]
    with busy_stranger(1):
        evidence = control.keep("foreign-busy-beside-idle-context", gpu_chunk(tmp_path, ranks))
    judged_again(control, evidence)
    assert evidence.result.dual_gpu_ok is (False if evidence.tells_own_processes else None)
    assert evidence.judged(beats=False, hidden_pids=True)[0] is None


@pytest.mark.requirement("H6", "L3")
def test_a_rank_that_sleeps_after_its_start_does_not_pass_beside_a_busy_gpu(tmp_path: Path, control: Control) -> None:
    control.must = MUST_NOT
    ranks = [
        plan(0, (0, SHORT_S), seconds=SHORT_S, backend="gloo"),
        plan(1, seconds=SHORT_S, backend="gloo"),
    ]
    with busy_stranger(1):
        evidence = control.keep("one-rank-asleep", gpu_chunk(tmp_path, ranks))
    judged_again(control, evidence)
    assert {beat.rank for beat in evidence.beats} == {0, 1}
    assert evidence.result.dual_gpu_ok is False, evidence.result.dual_gpu_reason
    assert evidence.judged(beats=True, hidden_pids=True)[0] is False
    assert evidence.judged(beats=False)[0] is (False if evidence.tells_own_processes else None)


@pytest.mark.requirement("H6", "L3")
def test_ranks_that_take_turns_do_not_pass(tmp_path: Path, control: Control, two_gpus: list[GpuInfo]) -> None:
    control.must = MUST_NOT
    whole = 4 * TURN_S
    ranks = [
        plan(0, (0, TURN_S), (2 * TURN_S, 3 * TURN_S), seconds=whole, backend="gloo"),
        plan(1, (TURN_S, 2 * TURN_S), (3 * TURN_S, whole), seconds=whole, backend="gloo"),
    ]
    evidence = control.keep("one-after-the-other", gpu_chunk(tmp_path, ranks))
    judged_again(control, evidence)
    moments = judge_moments(evidence.samples, evidence.beats, evidence.tree, 2, 1.0)
    each = {gpu.uuid: sum(m.work[gpu.uuid].ours is True for m in moments) for gpu in two_gpus}
    control.facts["samples in which each GPU worked, turns of 4 s"] = sorted(each.values())
    control.facts["samples in which both seem busy (the seams)"] = sum(
        all((gpu.util_pct or 0) >= 1 for gpu in sample.gpus) for sample in evidence.looks
    )
    assert min(each.values()) >= 2
    assert evidence.result.dual_gpu_ok is False, evidence.result.dual_gpu_reason
    assert all(ok is not True for ok, _ in control.said.values())
