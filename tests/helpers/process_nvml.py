"""A fake ``pynvml`` module, for machines without a GPU driver."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

GIB = 2**30


class NVMLError(Exception):
    """The library's base error; ``value`` is NVML's number (nvml.h)."""

    def __init__(self, message: str, value: int = 999) -> None:
        super().__init__(message)
        self.value = value


class FakeNvml(ModuleType):
    """GPUs as dictionaries; a value that is an exception is raised by the call that reads it."""

    NVMLError = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, *gpus: dict[str, Any], init: Exception | None = None) -> None:
        super().__init__("pynvml")
        self.gpus = gpus
        self.init = init
        self.users = 0

    def nvmlInit(self) -> None:
        if self.init is not None:
            raise self.init
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.gpus[index]

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> Any:
        return _value(handle, "name")

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> Any:
        return _value(handle, "uuid")

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(total=80 * GIB, used=_value(handle, "used"))

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(gpu=_value(handle, "util"))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, Any]) -> Any:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in _value(handle, "processes").items()]

    def nvmlDeviceGetProcessUtilization(self, handle: dict[str, Any], since_us: int) -> Any:
        found = [SimpleNamespace(pid=pid, smUtil=percent) for pid, percent in _value(handle, "active").items()]
        if not found:
            raise NVMLError("Not Found", 6)
        return found

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> Any:
        if "slices" not in handle:
            raise NVMLError("Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> dict[str, Any]:
        if index >= len(handle["slices"]):
            raise NVMLError("Not Found")
        found: dict[str, Any] = handle["slices"][index]
        return found


def fake_gpu(uuid: str, **values: Any) -> dict[str, Any]:
    return {"uuid": uuid, "name": "NVIDIA Test", "used": GIB, "util": 50, "processes": {}, "active": {}, **values}


def _value(handle: dict[str, Any], name: str) -> Any:
    value = handle[name]
    if isinstance(value, Exception):
        raise value
    return value
