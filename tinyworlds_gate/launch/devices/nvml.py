"""Reads NVIDIA GPUs through NVML (nvidia-ml-py), guarded: no driver, a failing call or an odd device is "unknown"."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

GIB = 2**30
T = TypeVar("T")

# The driver samples each process's utilisation about once a second; a shorter look back finds nothing between two.
ACTIVITY_LOOKBACK_S = 1.2
# NVML's error numbers (nvml.h). "Not found" is the answer where no process had any utilisation in the time asked for.
_NOTHING_FOUND = (0, 6)
_NOT_TOLD = (3, 4, 13)  # not supported (MIG, vGPU, WSL), no permission, no such function in this driver
_GREW_MEANWHILE = 7


@dataclass(frozen=True)
class GpuInfo:
    """One GPU, or one MIG slice of a GPU (``mig``; then the name says so and utilisation is unknown)."""

    index: int
    name: str
    uuid: str
    memory_gib: float | None
    mig: bool = False


@dataclass(frozen=True)
class GpuSample:
    """One GPU at one moment; None is "not known". PIDs are as NVML reports them, in a container maybe the host's.

    ``processes``: PID of each compute context → GiB (or None). ``activity``: PID → utilisation of the GPU's
    multiprocessors in percent over the last 1.2 s, only of processes that had any. ``activity_told`` is False where
    the driver says that it does not tell utilisation by process (which is no failure of one call).
    """

    uuid: str
    util_pct: float | None
    memory_used_gib: float | None
    processes: dict[int, float | None] | None
    activity: dict[int, float] | None = None
    activity_told: bool | None = None


class Nvml:
    """An open NVML session over the GPUs that CUDA_VISIBLE_DEVICES leaves; a context manager.

    ``problem`` tells why there are no devices, or what failed last.
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
            with suppress(self._nvml.NVMLError):  # a library that failed has its problem told already
                self._nvml.nvmlShutdown()
            self._nvml = None

    def sample(self) -> list[GpuSample]:
        """Utilisation, memory and compute processes of every visible GPU now; a failing call gives None."""
        return [self._sample(device) for device in self.devices] if self._nvml is not None else []

    def _sample(self, device: GpuInfo) -> GpuSample:
        nvml, handle = self._nvml, self._handles[device.uuid]
        if nvml is None:
            return GpuSample(device.uuid, None, None, None)
        rates = None if device.mig else self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        running = self._ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        activity, told = self._activity(nvml, handle)
        return GpuSample(
            uuid=device.uuid,
            util_pct=None if rates is None else float(rates.gpu),
            memory_used_gib=None if memory is None else round(memory.used / GIB, 4),
            processes=None if running is None else {int(one.pid): _gib(one.usedGpuMemory) for one in running},
            activity=activity,
            activity_told=told,
        )

    def _activity(self, nvml: ModuleType, handle: Any) -> tuple[dict[int, float] | None, bool | None]:
        """Utilisation by process, and whether the driver tells it; (None, None): this call failed."""
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
                if number in _NOT_TOLD:
                    return None, False
                if number != _GREW_MEANWHILE:
                    self.problem = f"nvmlDeviceGetProcessUtilization: {error}"
                    return None, None
            else:
                return _by_process(entries), True
        return None, None

    def _ask(self, call: Callable[..., T], *arguments: Any) -> T | None:
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
                memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, device)
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
        mode = self._ask(nvml.nvmlDeviceGetMigMode, handle)
        self.problem = None  # most GPUs know no MIG and answer "not supported"
        if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return []
        count = self._ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        found = [self._ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, at) for at in range(count)]
        self.problem = None  # empty slots answer "not found"
        return [device for device in found if device is not None]


def gpu_inventory() -> list[GpuInfo]:
    """The visible GPUs, without importing torch; empty where there are none or NVML is absent."""
    with Nvml() as nvml:
        return list(nvml.devices)


_held: list[Nvml] = []


def keep_gpus_awake() -> None:
    """Hold one NVML session open until this process ends; a further call does nothing.

    Without persistence mode the driver lets a GPU go when its last user closes it, and the next one waits seconds for
    it; a run looks at its GPUs at its start and around every chunk. No setting of a GPU is changed by this.
    """
    if not _held:
        _held.append(Nvml())


def gpu_count() -> int:
    """How many workers can have a GPU of their own (``usable_gpus``)."""
    return usable_gpus(gpu_inventory())


def usable_gpus(devices: Sequence[GpuInfo]) -> int:
    """Whole GPUs each count; of MIG slices alone CUDA gives a process one, however many there are.

    Source: NVIDIA MIG User Guide, "CUDA can only enumerate a single compute instance".
    """
    whole = sum(not device.mig for device in devices)
    return whole or min(1, len(devices))


def visible_devices(devices: Sequence[GpuInfo], chosen: str | None) -> list[GpuInfo]:
    """What CUDA_VISIBLE_DEVICES (None: unset) leaves, in its order: indices or UUID prefixes, up to the first bad one.

    Source: CUDA C++ Programming Guide, environment variables ("an invalid index hides all after it").
    """
    if chosen is None:
        return list(devices)
    found: list[GpuInfo] = []
    for word in (part.strip() for part in chosen.split(",")):
        if re.fullmatch(r"\d+", word):
            matches = [device for device in devices if device.index == int(word)][:1]
        else:
            matches = [device for device in devices if word and device.uuid.lower().startswith(word.lower())]
        if len(matches) != 1 or matches[0] in found:
            break
        found.append(matches[0])
    return found


def _gib(number_of_bytes: int | None) -> float | None:
    return None if number_of_bytes is None else round(number_of_bytes / GIB, 4)


def _by_process(entries: Sequence[Any]) -> dict[int, float]:
    """The highest utilisation of each process; some drivers leave slots unwritten, which are no percentages."""
    found: dict[int, float] = {}
    for entry in entries:
        if entry.pid > 0 and 0 < entry.smUtil <= 100:
            found[int(entry.pid)] = max(float(entry.smUtil), found.get(int(entry.pid), 0.0))
    return found


# The plain record of one look at the devices.


@dataclass(frozen=True)
class DeviceSample:
    """One moment: the GPUs, the PIDs of the launcher's tree, and the CPU seconds of each of them so far.

    ``monotonic`` is the clock that heartbeats carry too. ``baseline``: taken before the launch.
    """

    time: float
    monotonic: float
    baseline: bool
    gpus: tuple[GpuSample, ...]
    tree: tuple[int, ...]
    cpu_s: dict[int, float] = field(default_factory=dict)
