"""Device evidence on one real GPU: driver data, attribution of work, and NVML failing during a run.

python -m pytest tests/gpu/test_one_gpu.py -m gpu --record-devices results/devices
"""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.gpu.chunks import Evidence, busy_stranger, gpu_chunk, plan
from tests.gpu.record import Control
from tinyworlds_gate.launch.devices.concurrency import Moment, judge_moments
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuInfo, Nvml

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(200)]

WORK_S = 6.0


def moments(evidence: Evidence, *, beats: bool = True) -> list[Moment]:
    return judge_moments(evidence.samples, evidence.beats if beats else [], evidence.tree, 1, 1.0)


def seen(found: list[Moment], gpu: GpuInfo) -> dict[str, int]:
    """Count the samples in which the GPU's work was ours, was not, or is unknown."""
    said = [moment.work[gpu.uuid].ours for moment in found if gpu.uuid in moment.work]
    return {"ours": said.count(True), "not ours": said.count(False), "not known": said.count(None)}


def first(samples: list[DeviceSample], sign: str) -> float | None:
    """Return the seconds from the first sample until the field ``sign`` was set."""
    for sample in samples:
        if any(getattr(gpu, sign) for gpu in sample.gpus):
            return round(sample.monotonic - samples[0].monotonic, 2)
    return None


@pytest.mark.requirement("L3")
def test_one_working_rank_leaves_evidence_of_its_own(tmp_path: Path, control: Control, gpus: list[GpuInfo]) -> None:
    control.must = "show work of ours; H6 does not apply"
    evidence = control.keep("one-rank", gpu_chunk(tmp_path, [plan(0, (0, WORK_S), seconds=WORK_S)]))
    found = moments(evidence)
    gaps = [later.monotonic - earlier.monotonic for earlier, later in pairwise(evidence.looks)]
    control.facts |= {
        "PIDs of NVML's contexts resolve to the launcher's tree": evidence.shows_own_contexts,
        "PIDs of NVML's utilisation by process resolve to it": evidence.tells_own_processes,
        "utilisation by process is told": sorted({str(g.activity_told) for s in evidence.looks for g in s.gpus}),
        "samples": len(evidence.looks),
        "median and longest gap of samples in s": [round(median(gaps), 3), round(max(gaps), 3)],
        "first context, GPU busy, utilisation by process, in s": [
            first(evidence.looks, sign) for sign in ("processes", "util_pct", "activity")
        ],
        "peak memory of the launcher's processes in GiB": evidence.result.peak_gpu_mem_gib,
        "samples by whose work": seen(found, gpus[0]),
    }
    assert {beat.device for beat in evidence.beats} == {gpus[0].uuid}
    assert evidence.result.dual_gpu_ok is None
    assert f"its work was seen on {gpus[0].uuid} in" in evidence.result.dual_gpu_reason
    assert seen(found, gpus[0])["ours"] >= 2


@pytest.mark.requirement("L3")
def test_hidden_pids_leave_the_evidence_to_the_heartbeats(
    tmp_path: Path, control: Control, gpus: list[GpuInfo]
) -> None:
    control.must = "show work of ours by heartbeats, none without them"
    evidence = control.keep("one-rank-hidden-pids", gpu_chunk(tmp_path, [plan(0, (0, WORK_S), seconds=WORK_S)]))
    from tests.gpu.chunks import hide_pids

    hidden = [hide_pids(sample, evidence.tree) for sample in evidence.samples]
    by_beats = judge_moments(hidden, evidence.beats, evidence.tree, 1, 1.0)
    without = judge_moments(hidden, [], evidence.tree, 1, 1.0)
    control.facts |= {"by heartbeats": seen(by_beats, gpus[0]), "without": seen(without, gpus[0])}
    assert seen(by_beats, gpus[0])["ours"] >= 2
    assert seen(without, gpus[0])["ours"] == 0


@pytest.mark.requirement("L3", "H6")
def test_a_foreign_process_beside_our_idle_context_on_one_gpu_is_not_ours(
    tmp_path: Path, control: Control, gpus: list[GpuInfo]
) -> None:
    control.must = "never count as work of ours"
    with busy_stranger(0):
        evidence = control.keep("one-gpu-foreign-busy", gpu_chunk(tmp_path, [plan(0, seconds=WORK_S, beats=False)]))
    found = moments(evidence)
    busy = sum(any((gpu.util_pct or 0) >= 1 for gpu in sample.gpus) for sample in evidence.looks)
    control.facts |= {"samples by whose work": seen(found, gpus[0]), "samples with the GPU busy": busy}
    assert busy >= 2
    # The rank's start (one product) is work of its own; after it nothing is.
    assert seen(found[len(found) // 2 :], gpus[0])["ours"] == 0
    assert seen(found, gpus[0])["ours"] <= len(found) // 2


@pytest.mark.requirement("H6")
def test_two_ranks_on_one_gpu_do_not_pass(tmp_path: Path, control: Control, gpus: list[GpuInfo]) -> None:
    control.must = "not pass"
    ranks = [plan(0, (0, WORK_S), seconds=WORK_S, backend="gloo") for _ in (0, 1)]
    evidence = control.keep("two-ranks-on-one-gpu", gpu_chunk(tmp_path, ranks))
    control.said["without heartbeats"] = evidence.judged(beats=False)
    control.said["with hidden PIDs"] = evidence.judged(beats=True, hidden_pids=True)
    assert evidence.result.dual_gpu_ok is False
    assert all(ok is not True for ok, _ in control.said.values())
    assert {beat.device for beat in evidence.beats} == {gpus[0].uuid}


@pytest.mark.requirement("L3")
def test_a_library_that_is_shut_down_in_mid_run_leaves_unknown_and_the_chunk_goes_on(
    tmp_path: Path, control: Control, gpus: list[GpuInfo]
) -> None:
    import pynvml

    control.must = "finish; every sample after the failure is unknown"
    failed_at: list[float] = []

    def shut_down(step: int, _: float) -> None:
        if step >= 20 and not failed_at:
            with suppress(pynvml.NVMLError):
                for _ in range(8):
                    pynvml.nvmlShutdown()
            failed_at.append(time.monotonic())

    ranks = [plan(0, (0, WORK_S), seconds=WORK_S)]
    evidence = control.keep("nvml-fails-in-mid-run", gpu_chunk(tmp_path, ranks, progress=shut_down))
    after = [gpu for sample in evidence.looks if sample.monotonic > failed_at[0] for gpu in sample.gpus]
    control.facts["samples after the failure"] = len(after)
    assert after
    assert all((gpu.util_pct, gpu.processes, gpu.activity, gpu.memory_used_gib) == (None,) * 4 for gpu in after)
    assert "NVML failed last with" in evidence.result.dual_gpu_reason
    with Nvml() as nvml:
        assert [device.uuid for device in nvml.devices] == [device.uuid for device in gpus]


@pytest.mark.requirement("L3")
def test_the_driver_s_values_per_process_are_recorded(control: Control, gpus: list[GpuInfo]) -> None:
    import pynvml

    control.must = "hold for the look back of 1.2 s: entries carry wall-clock microseconds"
    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(gpus[0].index)
        with busy_stranger(0):
            time.sleep(2.0)
            facts: dict[str, Any] = {}
            stamps: set[int] = set()
            answers: list[str] = []
            for look_back in (None, 5.0, 1.2, 0.5):
                since = 0 if look_back is None else int((time.time() - look_back) * 1e6)
                facts[f"entries since {look_back or 'ever'} s ago: age in s, percent"] = _entries(pynvml, handle, since)
            for _ in range(40):
                time.sleep(0.1)
                try:
                    found = pynvml.nvmlDeviceGetProcessUtilization(handle, int((time.time() - 1.2) * 1e6))
                    stamps |= {int(entry.timeStamp) for entry in found}
                    answers.append("entries" if found else "empty")
                except pynvml.NVMLError as error:
                    answers.append(str(error))
            facts["40 calls 0.1 s apart with a look back of 1.2 s"] = {one: answers.count(one) for one in set(answers)}
            gaps = [(later - earlier) / 1e6 for earlier, later in pairwise(sorted(stamps))]
            facts["gaps between the driver's samples in s"] = [round(gap, 3) for gap in gaps][:10]
            running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            facts["compute processes listed"] = len(running)
        facts["entries after it ended"] = _entries(pynvml, handle, int((time.time() - 1.2) * 1e6))
    finally:
        pynvml.nvmlShutdown()
    control.facts |= facts
    ages = facts["entries since ever s ago: age in s, percent"]
    if isinstance(ages, str):
        control.must = f"the driver tells no utilisation by process: {ages}"
        return
    assert all(-5 < age < 3600 for age, _ in ages)


def _entries(pynvml: Any, handle: Any, since: int) -> list[tuple[float, int]] | str:
    try:
        found = pynvml.nvmlDeviceGetProcessUtilization(handle, since)
    except pynvml.NVMLError as error:
        return str(error)
    return [(round(time.time() - entry.timeStamp / 1e6, 3), int(entry.smUtil)) for entry in found]
