"""Devices that hide, fail or lie: the rows of rows_devices.py.

pytest tests/faults/test_devices.py
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.device_project import STAGE, device_project, finding, on_gpus, train
from tests.faults.runs import reports_of
from tests.helpers.fake_stages import FakeProject
from tests.helpers.live_nvml import LiveGpu, live_library
from tests.helpers.process_nvml import FakeNvml, NVMLError

SLOW_S = 4.5
"""Long enough for a chain of samples that needs no heartbeats."""


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def library_of(project: FakeProject, **keywords: object) -> FakeNvml:
    """Two GPUs that follow the project's ranks."""
    return live_library(*(LiveGpu(project.scripts / f"gpu_{at}", f"GPU-{at}", **keywords) for at in (0, 1)))  # type: ignore[arg-type]


def trained(project: FakeProject, library: object, monkeypatch: pytest.MonkeyPatch) -> tuple[bool | None, str, str]:
    """Train one chunk with this library; what it says of the devices, and A6.

    Without evidence where it is needed, a probe looks for it, the stage stops, and the trained checkpoint is kept.
    """
    monkeypatch.setitem(sys.modules, "pynvml", library)
    result = train(project)
    (chunk,) = project.events("chunk_finished")
    needed = project.context.gpus > 0 and chunk["dual_gpu_ok"] is not True
    assert (result.verdict, result.updates) == ("INVALID" if needed else "PASS", 4), "\n".join(project.said)
    assert chunk["cause"] == "ok"
    assert result.checkpoint is not None
    assert result.checkpoint.path.is_dir()
    probes, retunes = project.events("device_probe"), project.events("retune")
    assert [probe["dual_gpu_ok"] for probe in probes] == ([None] if needed else [])
    assert [(retune["id"], retune["proceed"], retune["changes"]) for retune in retunes] == [("T6", False, {})] * needed
    if needed:
        assert not result.usable
        assert chunk["dual_gpu_reason"] in result.reason
        assert probes[0]["dual_gpu_reason"].split(" (the probe")[0] in result.reason
    report = reports_of(project.context.layout)["A6"]
    assert " ".join(chunk["dual_gpu_reason"].split()) in report
    word = {True: "True", False: "False", None: "unknown"}[chunk["dual_gpu_ok"]]
    assert f"launcher {chunk['launcher_pid']} dual_gpu_ok {word}" in report
    return chunk["dual_gpu_ok"], chunk["dual_gpu_reason"], report


def after_readings(count: int, words: str, number: int) -> Callable[[], Exception | None]:
    """A library that answers so many readings and then fails for good."""
    left = [count]

    def fault() -> Exception | None:
        left[0] -= 1
        return NVMLError(words, number) if left[0] < 0 else None

    return fault


@pytest.mark.fault("nvml-missing")
@pytest.mark.requirement("L3", "H6")
@pytest.mark.slow
def test_a_machine_without_the_library_trains_and_says_what_it_cannot_know(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1, prefix="cpu"), gpus=0)
    ok, reason, _ = trained(project, None, monkeypatch)
    assert ok is None
    assert "the module pynvml (package nvidia-ml-py) cannot be imported" in reason
    assert finding(project, "H6") == ("NOT-RUN", "needs 2 NVIDIA GPUs, found 0")


@pytest.mark.fault("nvml-init-fails")
@pytest.mark.requirement("L3", "H6")
@pytest.mark.slow
def test_a_library_that_does_not_start_leaves_unknown_with_its_own_words(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1))
    library = FakeNvml(init=NVMLError("RM has detected an NVML/RM version mismatch.", 18))
    ok, reason, _ = trained(project, library, monkeypatch)
    assert ok is None
    assert "unknown: NVML is not available: RM has detected an NVML/RM version mismatch." in reason
    assert "heartbeats name GPU-0, GPU-1" in reason
    assert finding(project, "H6")[0] == "INVALID"


@pytest.mark.fault("nvml-fails-mid-run")
@pytest.mark.requirement("L3", "H6")
@pytest.mark.parametrize(("readings", "expected"), [(12, None), (10_000, True)], ids=["before the work", "never"])
def test_a_library_that_fails_in_mid_run_leaves_unknown_never_zero(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch, readings: int, expected: bool | None
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1))
    library = library_of(project, fault=after_readings(readings, "Unknown Error", 999))
    ok, reason, _ = trained(project, library, monkeypatch)
    assert ok is expected, reason
    assert ("NVML failed last with: nvml" in reason) is (expected is None)
    assert finding(project, "H6")[0] == ("PASS" if expected else "INVALID")


@pytest.mark.fault("gpu-lost")
@pytest.mark.requirement("L3", "H6")
@pytest.mark.slow
def test_a_gpu_that_is_lost_to_the_library_is_not_an_idle_one(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1))
    whole = LiveGpu(project.scripts / "gpu_0", "GPU-0")
    lost = LiveGpu(project.scripts / "gpu_1", "GPU-1", fault=after_readings(8, "GPU is lost", 15))
    ok, reason, _ = trained(project, live_library(whole, lost), monkeypatch)
    assert ok is None, reason
    assert "GPU is lost" in reason
    assert "GPU-1 in 0" in reason


@pytest.mark.fault("host-pids")
@pytest.mark.requirement("L3", "H6")
@pytest.mark.parametrize(("beats", "expected"), [(True, True), (False, None)], ids=["heartbeats", "no heartbeats"])
def test_a_container_that_shows_the_hosts_pids_is_judged_by_heartbeats(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch, beats: bool, expected: bool | None
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1, beats=beats, seconds=SLOW_S))
    ok, reason, _ = trained(project, library_of(project, host_pids=3_000_000), monkeypatch)
    assert ok is expected, reason
    assert ("memory over the baseline" if beats else "do not show whose work the GPUs did") in reason


@pytest.mark.fault("heartbeats-missing")
@pytest.mark.requirement("L3", "H6")
def test_workers_without_heartbeats_are_known_by_their_own_utilisation(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1, beats=False, seconds=SLOW_S))
    ok, reason, _ = trained(project, library_of(project), monkeypatch)
    assert ok is True, reason
    assert "by utilisation of this launcher's own processes" in reason


@pytest.mark.fault("heartbeats-torn")
@pytest.mark.requirement("L3", "H6")
def test_torn_heartbeats_are_left_out_and_the_others_count(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1, torn=True))
    ok, reason, _ = trained(project, library_of(project), monkeypatch)
    assert ok is True, reason
    assert "every rank's step grew" in reason
    (torn,) = project.context.layout.chunk_heartbeats(1).glob("rank_1_*.jsonl")
    assert torn.read_bytes().endswith(b'{"rank": 1, "pi')


@pytest.mark.fault("mig-slices")
@pytest.mark.requirement("L3", "H6")
@pytest.mark.slow
def test_two_slices_of_one_gpu_are_not_two_gpus(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 1, prefix="MIG"))
    slices = [LiveGpu(project.scripts / f"gpu_{at}", f"MIG-{at}") for at in (0, 1)]
    whole = LiveGpu(project.scripts / "gpu_0", "GPU-whole", slices=slices)
    ok, reason, _ = trained(project, live_library(whole), monkeypatch)
    assert ok is None
    assert reason.startswith("unknown: MIG-0, MIG-1 are MIG slices, not GPUs")
    assert finding(project, "H6")[0] == "INVALID"


@pytest.mark.fault("ranks-share-a-gpu")
@pytest.mark.requirement("L3", "H6", "T6")
@pytest.mark.slow
def test_ranks_on_one_gpu_beside_a_busy_stranger_are_tried_again_without_a_knob_turned(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = device_project(tmp_path, scene, on_gpus(0, 0), on_gpus(0, 1))
    stranger = project.scripts / "gpu_1" / "1"  # PID 1 lives and is nobody's worker
    stranger.touch()
    future = time.time() + 3600
    os.utime(stranger, (future, future))
    monkeypatch.setitem(sys.modules, "pynvml", library_of(project))
    result = train(project)
    assert result.verdict == "PASS", "\n".join(project.said)
    shared, good = project.events("chunk_finished")
    assert (shared["dual_gpu_ok"], good["dual_gpu_ok"]) == (False, True), good["dual_gpu_reason"]
    (probe,) = project.events("device_probe")
    assert probe["dual_gpu_ok"] is True, probe["dual_gpu_reason"]
    first, again = project.events("chunk_started")
    assert first["reason"], again["reason"] == ("planned", "retune")
    assert (again["start_update"], again["end_update"]) == (4, 8), "nothing is trained again"
    assert again["resumed_from"] == shared["checkpoint"]["path"]
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"], retune["stage"]) == ("T6", {}, STAGE)
    reports = reports_of(project.context.layout)
    assert "the ranks share GPUs: rank 0 on GPU-0, rank 1 on GPU-0" in reports["A6"]
    assert "T6: guard: the device check failed: the ranks share GPUs" in reports["A5"]
    verdict, h6 = finding(project, "H6")
    assert verdict == "PASS"
    assert "chunk 1 (video_tokenizer) had no evidence of its own, and a probe of the same command showed it" in h6


@pytest.mark.fault("ranks-share-a-gpu")
@pytest.mark.requirement("L3", "H6", "T6")
@pytest.mark.slow
def test_a_target_that_restarts_is_tried_once_more_and_its_newest_training_is_kept(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe sees evidence and two trainings have none: the second is the last."""
    project = device_project(tmp_path, scene, on_gpus(0, 0), on_gpus(0, 1), on_gpus(0, 0))
    can = replace(project.context.target.can, resumes=False)
    project.context.target = replace(project.context.target, can=can)
    monkeypatch.setitem(sys.modules, "pynvml", library_of(project))
    result = train(project)
    assert result.verdict == "INVALID", "\n".join(project.said)
    assert [(one["start_update"], one["end_update"]) for one in project.events("chunk_started")] == [(0, 4)] * 2
    assert [probe["dual_gpu_ok"] for probe in project.events("device_probe")] == [True]
    assert [(one["id"], one["proceed"]) for one in project.events("retune")] == [("T6", True), ("T6", False)]
    assert "2 chunks in a row have none; the trained checkpoint is kept" in result.reason
    assert result.checkpoint is not None
    assert (result.checkpoint.step, result.usable) == (3, False)
    assert finding(project, "H6")[0] == finding(project, "L3")[0] == "INVALID"
