"""Read NVIDIA GPUs through NVML (nvidia-ml-py); without a driver, or if a call fails, values are unknown (None)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from tinyworlds_gate.run.machine import GIB

T = TypeVar("T")

# The driver samples the utilisation of each process about once a second; a shorter lookback can miss all samples.
ACTIVITY_LOOKBACK_S = 1.2
# NVML's error numbers (nvml.h). "Not found" means that no process had any utilisation in the requested period.
_NOTHING_FOUND = (0, 6)
_NOT_SUPPORTED = (3, 4, 13)  # not supported (MIG, vGPU, WSL), no permission, no such function in this driver
_LIST_GREW = 7


@dataclass(frozen=True)
class GpuInfo:
    """One GPU, or one MIG slice of a GPU (``mig``; then its utilisation is unknown)."""

    index: int
    name: str
    uuid: str
    memory_gib: float | None
    mig: bool = False


@dataclass(frozen=True)
class GpuSample:
    """One GPU at one moment; None means unknown. PIDs are as NVML reports them (in a container maybe the host's).

    ``processes``: PID of each compute context → GiB (or None). ``activity``: PID → SM utilisation in percent over the
    last 1.2 s, only of processes with any. ``activity_told`` is False if the driver does not support utilisation by
    process, and None if the call failed.
    """

    uuid: str
    util_pct: float | None
    memory_used_gib: float | None
    processes: dict[int, float | None] | None
    activity: dict[int, float] | None = None
    activity_told: bool | None = None


class Nvml:
    """An NVML session over the GPUs visible through CUDA_VISIBLE_DEVICES; a context manager.

    ``problem`` is why there are no devices, or the last failure.
    """

    def __init__(self, visible: str | None = None) -> None:
        self.problem: str | None = None
        self.devices: list[GpuInfo] = []
        self._handles: dict[str, Any] = {}
        self._nvml: ModuleType | None = None
        try:
            import pynvml
        except ImportError as error:
            self.problem = f"the module pynvml (package nvidia-ml-py) cannot be imported: {error}"
            return
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self.problem = f"NVML is not available: {error}"
            return
        self._nvml = pynvml
        try:
            found = self._enumerate(pynvml)
        except pynvml.NVMLError as error:
            self.problem = f"NVML cannot list the GPUs: {error}"
            found = []
        self._handles = {info.uuid: handle for info, handle in found}
        chosen = visible if visible is not None else os.environ.get("CUDA_VISIBLE_DEVICES")
        self.devices = visible_devices([info for info, _ in found], chosen)
        if not self.devices and self.problem is None:
            self.problem = "NVML lists no GPU" if not found else f"CUDA_VISIBLE_DEVICES={chosen} leaves no GPU"

    def __enter__(self) -> Nvml:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._nvml is not None:
            with suppress(self._nvml.NVMLError):  # its failure is already reported
                self._nvml.nvmlShutdown()
            self._nvml = None

    def sample(self) -> list[GpuSample]:
        """Return utilisation, memory and compute processes of every visible GPU now; None where a call fails."""
        return [self._sample(device) for device in self.devices] if self._nvml is not None else []

    def _sample(self, device: GpuInfo) -> GpuSample:
        nvml, handle = self._nvml, self._handles[device.uuid]
        if nvml is None:
            return GpuSample(device.uuid, None, None, None)
        rates = None if device.mig else self._query(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._query(nvml.nvmlDeviceGetMemoryInfo, handle)
        running = self._query(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        activity, supported = self._activity(nvml, handle)
        return GpuSample(
            uuid=device.uuid,
            util_pct=None if rates is None else float(rates.gpu),
            memory_used_gib=None if memory is None else round(memory.used / GIB, 4),
            processes=None if running is None else {int(one.pid): _gib(one.usedGpuMemory) for one in running},
            activity=activity,
            activity_told=supported,
        )

    def _activity(self, nvml: ModuleType, handle: Any) -> tuple[dict[int, float] | None, bool | None]:
        """Return utilisation by process, and whether the driver supports it; (None, None) if the call failed."""
        call = getattr(nvml, "nvmlDeviceGetProcessUtilization", None)
        if call is None:
            return None, False
        for _ in range(2):
            try:
                entries = call(handle, int((time.time() - ACTIVITY_LOOKBACK_S) * 1e6))
            except nvml.NVMLError as error:
                number = getattr(error, "value", None)
                if number in _NOTHING_FOUND:
                    return {}, True
                if number in _NOT_SUPPORTED:
                    return None, False
                if number != _LIST_GREW:
                    self.problem = f"nvmlDeviceGetProcessUtilization: {error}"
                    return None, None
            else:
                return _by_process(entries), True
        return None, None

    def _query(self, call: Callable[..., T], *arguments: Any) -> T | None:
        if self._nvml is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            self.problem = f"{call.__name__}: {error}"
            return None

    def _enumerate(self, nvml: ModuleType) -> list[tuple[GpuInfo, Any]]:
        found: list[tuple[GpuInfo, Any]] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            slices = self._mig_slices(nvml, handle)
            name = str(nvml.nvmlDeviceGetName(handle))
            for device in slices or [handle]:
                memory = self._query(nvml.nvmlDeviceGetMemoryInfo, device)
                info = GpuInfo(
                    index=index,
                    name=f"{name} (MIG slice)" if slices else name,
                    uuid=str(nvml.nvmlDeviceGetUUID(device)),
                    memory_gib=None if memory is None else round(memory.total / GIB, 2),
                    mig=bool(slices),
                )
                found.append((info, device))
        return found

    def _mig_slices(self, nvml: ModuleType, handle: Any) -> list[Any]:
        mode = self._query(nvml.nvmlDeviceGetMigMode, handle)
        self.problem = None  # GPUs without MIG return "not supported"
        if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return []
        count = self._query(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        found = [self._query(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, at) for at in range(count)]
        self.problem = None  # empty slots return "not found"
        return [device for device in found if device is not None]


def gpu_inventory() -> list[GpuInfo]:
    """Return the visible GPUs without importing torch; empty if there are none or NVML is missing."""
    with Nvml() as nvml:
        return list(nvml.devices)


_open_sessions: list[Nvml] = []


def keep_gpus_initialized() -> None:
    """Hold one NVML session open until this process ends; further calls do nothing.

    Without persistence mode the driver deinitialises a GPU when its last client closes it, and the next client waits
    seconds for it. A run samples its GPUs at its start and around every chunk. This changes no setting of a GPU.
    """
    if not _open_sessions:
        _open_sessions.append(Nvml())


def gpu_count() -> int:
    """Return how many workers can have their own GPU (``usable_gpus``)."""
    return usable_gpus(gpu_inventory())


def usable_gpus(devices: Sequence[GpuInfo]) -> int:
    """Count whole GPUs; with MIG slices only, return 1, because CUDA gives a process only one slice.

    Source: NVIDIA MIG User Guide, "CUDA can only enumerate a single compute instance".
    """
    whole = sum(not device.mig for device in devices)
    return whole or min(1, len(devices))


def visible_devices(devices: Sequence[GpuInfo], chosen: str | None) -> list[GpuInfo]:
    """Return the devices that CUDA_VISIBLE_DEVICES selects (None: unset), up to its first invalid index or UUID prefix.

    Source: CUDA C++ Programming Guide, environment variables ("an invalid index hides all after it").
    """
    if chosen is None:
        return list(devices)
    found: list[GpuInfo] = []
    for name in (part.strip() for part in chosen.split(",")):
        if re.fullmatch(r"\d+", name):
            matches = [device for device in devices if device.index == int(name)][:1]
        else:
            matches = [device for device in devices if name and device.uuid.lower().startswith(name.lower())]
        if len(matches) != 1 or matches[0] in found:
            break
        found.append(matches[0])
    return found


def _gib(number_of_bytes: int | None) -> float | None:
    return None if number_of_bytes is None else round(number_of_bytes / GIB, 4)


def _by_process(entries: Sequence[Any]) -> dict[int, float]:
    """Return the highest utilisation of each process; entries that are no percentage (unwritten slots) are skipped."""
    found: dict[int, float] = {}
    for entry in entries:
        if entry.pid > 0 and 0 < entry.smUtil <= 100:
            found[int(entry.pid)] = max(float(entry.smUtil), found.get(int(entry.pid), 0.0))
    return found


@dataclass(frozen=True)
class DeviceSample:
    """One sample: the GPUs, the PIDs of the launcher's process tree, and the CPU seconds of each so far.

    Heartbeats carry the same ``monotonic`` clock. ``baseline``: taken before the launch.
    """

    time: float
    monotonic: float
    baseline: bool
    gpus: tuple[GpuSample, ...]
    tree: tuple[int, ...]
    cpu_s: dict[int, float] = field(default_factory=dict)
