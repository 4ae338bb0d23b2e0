"""GPUs through NVML and the samples of a launch; without a driver, values are unknown with a reason.

pytest tests/unit/launch/devices/test_monitor.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.process_evidence import FOREIGN, WORKER0, WORKER1, gpu, sample_at
from tests.helpers.process_nvml import GIB, FakeNvml, NVMLError, fake_gpu
from tinyworlds_gate.launch.devices import monitor as monitor_module
from tinyworlds_gate.launch.devices import nvml
from tinyworlds_gate.launch.devices.monitor import Cadence, DeviceMonitor
from tinyworlds_gate.launch.devices.nvml import (
    GpuInfo,
    Nvml,
    gpu_count,
    gpu_inventory,
    keep_gpus_initialized,
    usable_gpus,
    visible_devices,
)
from tinyworlds_gate.launch.devices.samples_file import read_samples

DEVICES = [GpuInfo(0, "a", "GPU-aa11", 80.0), GpuInfo(1, "b", "GPU-ab22", 80.0), GpuInfo(2, "c", "GPU-cc33", 80.0)]


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("chosen", "indices"),
    [
        (None, [0, 1, 2]),
        ("0,1", [0, 1]),
        ("2,0", [2, 0]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),
        ("0,0", [0]),
        ("GPU-cc", [2]),
        ("GPU-a", []),
        ("gpu-ab22, 0", [1, 0]),
    ],
)
def test_cuda_visible_devices_is_parsed_as_cuda_parses_it(chosen: str | None, indices: list[int]) -> None:
    assert [device.index for device in visible_devices(DEVICES, chosen)] == indices


def test_the_inventory_counts_what_a_launch_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fake_gpu("GPU-1"), fake_gpu("GPU-2")))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_inventory() == [GpuInfo(0, "NVIDIA Test", "GPU-1", 80.0), GpuInfo(1, "NVIDIA Test", "GPU-2", 80.0)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_count() == 1


def test_no_driver_is_no_gpu_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init=NVMLError("Driver Not Loaded")))
    with Nvml() as nvml:
        assert nvml.devices == []
        assert nvml.problem == "NVML is not available: Driver Not Loaded"
        assert nvml.sample() == []


def test_no_module_is_no_gpu_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Nvml() as nvml:
        assert nvml.devices == []
        assert "nvidia-ml-py" in str(nvml.problem)


def test_hidden_gpus_are_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fake_gpu("GPU-1")))
    with Nvml(visible="") as nvml:
        assert nvml.problem == "CUDA_VISIBLE_DEVICES= leaves no GPU"


@pytest.mark.requirement("L3")
def test_gpus_kept_initialized_have_one_more_client_until_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeNvml(fake_gpu("GPU-1"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(nvml, "_open_sessions", [])
    keep_gpus_initialized()
    keep_gpus_initialized()
    assert (library.users, gpu_count(), library.users) == (1, 1, 1)


@pytest.mark.requirement("L3")
def test_a_call_that_fails_in_mid_run_gives_unknown_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = fake_gpu("GPU-1", util=NVMLError("GPU is lost"), processes={7: 2 * GIB, 8: None})
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(failing))
    with Nvml(visible="0") as nvml:
        (sample,) = nvml.sample()
        assert "GPU is lost" in str(nvml.problem)
    assert sample.util_pct is None
    assert sample.memory_used_gib == 1.0
    assert sample.processes == {7: 2.0, 8: None}


@pytest.mark.requirement("L3")
def test_mig_slices_are_named_as_such_and_their_utilisation_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fake_gpu("GPU-1", slices=[fake_gpu("MIG-1"), fake_gpu("MIG-2")])
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(whole))
    with Nvml(visible="MIG-2") as nvml:
        assert nvml.devices == [GpuInfo(0, "NVIDIA Test (MIG slice)", "MIG-2", 80.0, mig=True)]
        assert nvml.sample()[0].util_pct is None


def test_a_closed_session_has_no_sample_and_frees_the_library_once(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeNvml(fake_gpu("GPU-1"), fake_gpu("GPU-2"))
    monkeypatch.setitem(sys.modules, "pynvml", library)
    with Nvml(visible="1,0") as nvml:
        assert [one.uuid for one in nvml.sample()] == ["GPU-2", "GPU-1"]
        assert library.users == 1
    nvml.close()
    assert (nvml.sample(), library.users) == ([], 0)


@pytest.mark.requirement("L3")
def test_samples_are_written_as_they_were_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getpid()
    fake = FakeNvml(fake_gpu("GPU-1", processes={own: 3 * GIB, 999999: 9 * GIB}))
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    with Nvml(visible="0") as nvml, DeviceMonitor(tmp_path / "run" / "devices" / "chunk.jsonl", nvml) as monitor:
        monitor.take((), baseline=True)
        sample = monitor.take([own])
    assert sample.cpu_s[own] > 0
    assert monitor.peak_memory_gib() == 3.0
    assert list(read_samples(monitor.path).samples) == monitor.samples
    assert [json.loads(line)["baseline"] for line in monitor.path.read_text().splitlines()] == [True, False]


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("active", "supported", "expected"),
    [
        ({7: 90, 8: 3}, True, {7: 90.0, 8: 3.0}),
        ({}, True, {}),
        ({7: 40, 0: 12, 9: 4294967295, 10: 0}, True, {7: 40.0}),
        (NVMLError("Not Supported", 3), False, None),
        (NVMLError("Insufficient Permissions", 4), False, None),
        (NVMLError("Function Not Found", 13), False, None),
        (NVMLError("Success", 0), True, {}),
        (NVMLError("Insufficient Size", 7), None, None),
        (NVMLError("GPU is lost", 15), None, None),
    ],
    ids=str,
)
def test_utilisation_by_process_is_reported_unsupported_or_unknown(
    monkeypatch: pytest.MonkeyPatch, active: object, supported: bool | None, expected: dict[int, float] | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fake_gpu("GPU-1", active=active)))
    with Nvml(visible="0") as nvml:
        (sample,) = nvml.sample()
        assert nvml.problem == ("nvmlDeviceGetProcessUtilization: GPU is lost" if "lost" in str(active) else None)
    assert (sample.activity, sample.activity_told) == (expected, supported)


@pytest.mark.requirement("L3")
def test_a_library_without_utilisation_by_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fake_gpu("GPU-1")))
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetProcessUtilization")
    with Nvml(visible="0") as nvml:
        (sample,) = nvml.sample()
    assert (sample.activity, sample.activity_told) == (None, False)


@pytest.mark.requirement("L3")
def test_mig_slices_are_one_usable_gpu_and_never_several() -> None:
    slices = [GpuInfo(0, "a (MIG slice)", f"MIG-{at}", 20.0, mig=True) for at in range(3)]
    assert usable_gpus(slices) == 1
    assert usable_gpus([*DEVICES, *slices]) == 3
    assert usable_gpus([]) == 0


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def samples_in(self, cadence: Cadence, seconds: float) -> int:
        """Return how often a sample was due, polled ten times a second."""
        count = 0
        for _ in range(round(seconds * 10)):
            count += cadence.due()
            self.now += 0.1001
        return count


@pytest.mark.requirement("L3")
def test_samples_are_dense_in_the_first_ten_seconds_and_then_at_the_interval() -> None:
    clock = Clock()
    cadence = Cadence(5.0, clock)
    assert clock.samples_in(cadence, 10) == 50
    assert clock.samples_in(cadence, 19) == 4


@pytest.mark.requirement("L3", "H6")
def test_four_dense_seconds_recur_every_thirty_whatever_the_interval() -> None:
    clock = Clock()
    cadence = Cadence(300.0, clock)
    clock.samples_in(cadence, 29.9)
    for _ in range(3):
        assert clock.samples_in(cadence, 4) == pytest.approx(20, abs=1)
        assert clock.samples_in(cadence, 26) == pytest.approx(0, abs=1)


@pytest.mark.requirement("L3", "H6")
def test_the_first_step_and_work_on_more_gpus_at_once_begin_ten_dense_seconds_each() -> None:
    clock = Clock()
    cadence = Cadence(5.0, clock)
    clock.now += 35
    cadence.first_step_seen()
    assert clock.samples_in(cadence, 10) == 50
    clock.now += 20
    strange, idle = (
        sample_at(1.0, gpu("GPU-1", 90, [FOREIGN])),
        sample_at(1.0, gpu("GPU-1", 0, [WORKER0], active=[WORKER0])),
    )
    one, two = gpu("GPU-1", 90, [WORKER0]), gpu("GPU-2", 90, [WORKER1])
    for sample in (strange, idle):
        cadence.observe(sample)
        assert clock.samples_in(cadence, 5) == 1
    cadence.observe(sample_at(2.0, one))
    assert clock.samples_in(cadence, 10) == pytest.approx(50, abs=1)
    cadence.observe(sample_at(2.0, one))
    assert clock.samples_in(cadence, 2) < 2
    cadence.observe(sample_at(3.0, one, two))
    assert clock.samples_in(cadence, 10) == pytest.approx(50, abs=1)


@pytest.mark.requirement("L3")
def test_dense_samples_begin_with_the_first_step_and_not_when_a_long_interval_is_over() -> None:
    clock = Clock()
    cadence = Cadence(60.0, clock)
    clock.samples_in(cadence, 20)
    cadence.first_step_seen()
    assert clock.samples_in(cadence, 10) == 49


@pytest.mark.requirement("L3", "H6")
@pytest.mark.parametrize(
    ("after_s", "dense"),
    [
        (0.0, True),
        (9.75, True),
        (10.0, False),
        (29.75, False),
        (30.0, True),
        (33.75, True),
        (34.0, False),
        (60.0, True),
    ],
)
def test_the_dense_spans_begin_and_end_on_time(after_s: float, dense: bool) -> None:
    clock = Clock()
    cadence = Cadence(300.0, clock)
    clock.now += after_s
    assert cadence.dense is dense


@pytest.mark.requirement("L3")
def test_the_first_sample_is_due_at_once_also_on_a_machine_that_has_just_started() -> None:
    cadence = Cadence(5.0, lambda: 0.0)
    assert (cadence.due(), cadence.due()) == (True, False)


@pytest.mark.requirement("L3")
def test_a_sample_is_due_at_its_time_and_a_burst_is_not_missed() -> None:
    clock = Clock()
    cadence = Cadence(16.0, clock)
    due = []
    for _ in range(300):
        if cadence.due():
            due.append(clock.now - 1000.0)
        clock.now += 0.125
    assert due[:3] == [0.0, 0.25, 0.5]
    assert [moment for moment in due if 10.2 < moment < 34.0] == [26.0, *[30.0 + 0.25 * at for at in range(16)]]


def test_a_second_monitor_appends_and_without_gpu_memory_there_is_no_peak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init=NVMLError("Driver Not Loaded")))
    path = tmp_path / "devices" / "chunk.jsonl"
    with Nvml() as nvml:
        for number in (1, 2):
            with DeviceMonitor(path, nvml) as monitor:
                sample = monitor.take([os.getpid(), 2**22 + 1])
                assert (sample.baseline, sample.gpus, list(sample.cpu_s)) == (False, (), [os.getpid()])
                assert len(path.read_text().splitlines()) == number, "written at once"
                assert monitor.peak_memory_gib() is None
                assert (monitor.gpus, monitor.problem) == ([], "NVML is not available: Driver Not Loaded")


@pytest.mark.requirement("L3")
def test_the_peak_is_that_of_this_launcher_s_processes_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init=NVMLError("Driver Not Loaded")))
    with Nvml() as nvml, DeviceMonitor(tmp_path / "x.jsonl", nvml) as monitor:
        for moment, memory in ((1.0, 1.25), (2.0, 2.5), (3.0, None)):
            one = replace(gpu("GPU-1", 90), processes={WORKER0: memory, FOREIGN: 9.0})
            monitor.samples.append(sample_at(moment, one, replace(one, uuid="GPU-2", processes={WORKER1: memory})))
        monitor.samples.append(sample_at(4.0, replace(gpu("GPU-1", 90), processes=None)))
        assert monitor.peak_memory_gib() == 5.0


def test_without_proc_the_cpu_time_comes_from_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    used = monitor_module._cpu_seconds(os.getpid())
    monkeypatch.setattr(monitor_module, "HAS_PROC", False)
    again = monitor_module._cpu_seconds(os.getpid())
    assert used is not None
    assert again == pytest.approx(used, abs=0.5)
    assert monitor_module._cpu_seconds(2**22 + 1) is None


@pytest.mark.requirement("L3")
def test_an_interval_shorter_than_a_dense_one_is_kept() -> None:
    clock = Clock()
    cadence = Cadence(0.1, clock)
    assert clock.samples_in(cadence, 20) == 200


def test_looking_for_gpus_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "import tinyworlds_gate.launch.launcher\n"
        "from tinyworlds_gate.launch.devices.nvml import gpu_count\n"
        "gpu_count()\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.gpu
def test_a_real_gpu_is_listed_and_sampled() -> None:
    with Nvml() as nvml:
        if not nvml.devices:
            pytest.skip(f"needs an NVIDIA GPU, found 0 ({nvml.problem})")
        samples = nvml.sample()
    assert [sample.uuid for sample in samples] == [device.uuid for device in nvml.devices]
    assert all(sample.memory_used_gib is not None and sample.processes is not None for sample in samples)
