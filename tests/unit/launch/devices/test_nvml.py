"""Limits of what NVML reports (whole sessions: test_monitor.py). ``pytest tests/unit/launch/devices/test_nvml.py``"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.process_nvml import GIB, FakeNvml, NVMLError, fake_gpu
from tinyworlds_gate.launch.devices import nvml as module
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuInfo, GpuSample, Nvml


def installed(monkeypatch: pytest.MonkeyPatch, library: FakeNvml) -> FakeNvml:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


def entry(pid: int, percent: float) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, smUtil=percent)


@pytest.mark.requirement("L3")
def test_a_process_has_its_highest_share_and_unwritten_slots_are_skipped() -> None:
    entries = [entry(7, 5), entry(7, 90), entry(7, 30), entry(8, 100), entry(9, 101), entry(10, 0), entry(0, 5)]
    assert module._by_process([*entries, entry(-1, 5), entry(11, 1), entry(1, 2)]) == {7: 90, 8: 100, 11: 1, 1: 2}


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("failures", "expected", "calls"),
    [
        ([], ({7: 50.0}, True), 1),
        ([NVMLError("Insufficient Size", 7)], ({7: 50.0}, True), 2),
        ([NVMLError("Insufficient Size", 7)] * 2, (None, None), 2),
        ([NVMLError("Not Found", 6)], ({}, True), 1),
        ([NVMLError("Success", 0)], ({}, True), 1),
        ([NVMLError("Not Supported", 3)], (None, False), 1),
        ([NVMLError("Unknown", 999)], (None, None), 1),
    ],
)
def test_shares_are_read_over_the_last_1_2_seconds_and_once_more_when_the_list_grew(
    monkeypatch: pytest.MonkeyPatch, failures: list[NVMLError], expected: tuple[object, object], calls: int
) -> None:
    library, since, pending = installed(monkeypatch, FakeNvml(fake_gpu("GPU-1"))), list[int](), list(failures)

    def read(handle: Any, since_us: int) -> list[SimpleNamespace]:
        since.append(since_us)
        if pending:
            raise pending.pop(0)
        return [entry(7, 50)]

    monkeypatch.setattr(library, "nvmlDeviceGetProcessUtilization", read)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 1000.0))
    with Nvml(visible="0") as nvml:
        (sample,) = nvml.sample()
        assert (nvml.problem is None) is not any(one.value == 999 for one in failures)
    assert (sample.activity, sample.activity_told) == expected
    assert since == [998_800_000] * calls


@pytest.mark.requirement("L3")
def test_memory_is_rounded_and_each_value_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fake_gpu("GPU-1", used=GIB + 54_321_098, processes={7: 123_456_789, 8: None})
    two = fake_gpu("GPU-2", used=NVMLError("lost"), util=NVMLError("lost"), processes=NVMLError("lost"))
    installed(monkeypatch, FakeNvml(one, two))
    with Nvml(visible="0,1") as nvml:
        assert nvml.devices == [GpuInfo(0, "NVIDIA Test", "GPU-1", 80.0), GpuInfo(1, "NVIDIA Test", "GPU-2", None)]
        first, second = nvml.sample()
        assert nvml.problem == "nvmlDeviceGetComputeRunningProcesses: lost"
    assert first == GpuSample("GPU-1", 50.0, 1.0506, {7: 0.115, 8: None}, {}, True)
    assert second == GpuSample("GPU-2", None, None, None, {}, True)
    assert DeviceSample(1.0, 1.0, False, (), ()).cpu_s == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda library: setattr(library, "nvmlDeviceGetCount", fail), "NVML cannot list the GPUs: lost"),
        (lambda library: setattr(library, "gpus", ()), "NVML lists no GPU"),
    ],
)
def test_a_list_that_cannot_be_read_or_is_empty_is_the_problem(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[FakeNvml], None], said: str
) -> None:
    library = installed(monkeypatch, FakeNvml(fake_gpu("GPU-1")))
    change(library)
    with Nvml() as nvml:
        assert (nvml.devices, nvml.problem, library.users) == ([], said, 1)
    assert library.users == 0


def fail() -> int:
    raise NVMLError("lost")


def test_a_session_that_cannot_be_closed_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, FakeNvml(fake_gpu("GPU-1")))
    monkeypatch.setattr(library, "nvmlShutdown", fail)
    nvml = Nvml(visible="0")
    nvml.close()
    assert nvml.sample() == []
    assert nvml._query(lambda: 1) is None
    assert nvml._sample(nvml.devices[0]) == GpuSample("GPU-1", None, None, None)


@pytest.mark.parametrize(
    ("mode", "count", "slices"),
    [([1, 0], 7, ["MIG-1"]), ([0, 1], 7, []), ([1, 1], 0, []), ([1, 1], None, [])],
)
def test_slices_are_those_of_a_gpu_in_mig_mode(
    monkeypatch: pytest.MonkeyPatch, mode: list[int], count: int | None, slices: list[str]
) -> None:
    whole = fake_gpu("GPU-1", slices=[fake_gpu("MIG-1")])
    library = installed(monkeypatch, FakeNvml(whole))
    monkeypatch.setattr(library, "nvmlDeviceGetMigMode", lambda handle: mode)
    monkeypatch.setattr(
        library, "nvmlDeviceGetMaxMigDeviceCount", lambda handle: count if count is not None else fail()
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with Nvml() as nvml:
        assert [one.uuid for one in nvml.devices] == (slices or ["GPU-1"])
        assert [one.mig for one in nvml.devices] == [bool(slices)]
        assert nvml.problem is None
