"""Reads NVIDIA GPUs through NVML (nvidia-ml-py), guarded: no driver, a failing call or an odd device is "unknown"."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

GIB = 2**30
T = TypeVar("T")


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
    """One GPU at one moment; None is "not known". ``processes``: PID as NVML reports it → GiB (or None)."""

    uuid: str
    util_pct: float | None
    memory_used_gib: float | None
    processes: dict[int, float | None] | None


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
            self._ask(self._nvml.nvmlShutdown)
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
        return GpuSample(
            uuid=device.uuid,
            util_pct=None if rates is None else float(rates.gpu),
            memory_used_gib=None if memory is None else round(memory.used / GIB, 4),
            processes=None if running is None else {int(one.pid): _gib(one.usedGpuMemory) for one in running},
        )

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


def gpu_count() -> int:
    """How many GPUs a launch can use."""
    return len(gpu_inventory())


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
