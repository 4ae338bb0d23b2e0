"""A fake NVML whose GPUs follow real processes: a folder per GPU with a file per process, touched while it works.

It replaces the driver's library, so that driver faults can be tested on a machine without GPUs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.process_nvml import GIB, FakeNvml
from tinyworlds_gate.run.identity import process_start

AVERAGING_S = 0.9
LIVE = ("used", "util", "processes", "active")


class LiveGpu(dict[str, Any]):
    """The handle of one GPU; values are read on each access.

    ``fault`` is called before each reading; an exception that it returns is raised by the call. ``host_pids`` is added
    to every PID, like a driver that reports host PIDs.
    """

    def __init__(
        self,
        folder: Path,
        uuid: str,
        *,
        fault: Callable[[], Exception | None] = lambda: None,
        host_pids: int = 0,
        **values: Any,
    ) -> None:
        super().__init__(uuid=uuid, name="NVIDIA Test", **values)
        self.folder, self.fault, self.host_pids = folder, fault, host_pids
        folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> Any:
        if name not in LIVE or name in self:
            return super().__getitem__(name)
        error = self.fault()
        return error if error is not None else self._reading(name)

    def _reading(self, name: str) -> Any:
        ages = {int(path.name): time.time() - path.stat().st_mtime for path in self.folder.iterdir()}
        here = {pid: age for pid, age in ages.items() if process_start(pid) is not None}
        working = [pid for pid, age in here.items() if age < AVERAGING_S]
        match name:
            case "used":
                return GIB // 2 + GIB * len(here)
            case "util":
                return 90 if working else 0
            case "processes":
                return {pid + self.host_pids: GIB for pid in here}
            case _:
                return {pid + self.host_pids: 80 for pid in working}


def live_library(*gpus: LiveGpu) -> FakeNvml:
    """Return a fake ``pynvml`` module with these GPUs."""
    return FakeNvml(*gpus)
