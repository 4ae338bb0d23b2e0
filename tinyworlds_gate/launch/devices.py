"""Samples what the devices do while a chunk trains: raw evidence for ``judge.py``, kept as JSON lines (L3, H6)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from tinyworlds_gate.launch.judge import judge_cpu_workers, judge_dual_gpu
from tinyworlds_gate.launch.nvml import GpuInfo, GpuSample, Nvml, gpu_count, gpu_inventory
from tinyworlds_gate.launch.samples import DeviceSample

__all__ = [
    "DeviceMonitor",
    "DeviceSample",
    "GpuInfo",
    "GpuSample",
    "gpu_count",
    "gpu_inventory",
    "judge_cpu_workers",
    "judge_dual_gpu",
    "read_samples",
]

DENSE_INTERVAL_S = 0.2
DENSE_SECONDS = 10.0


@dataclass
class Cadence:
    """When to sample: every 0.2 s in the first 10 s (and in the 10 s after the first step), then every interval."""

    interval_s: float
    _dense_until: float = field(default_factory=lambda: time.monotonic() + DENSE_SECONDS)
    _next: float = 0.0

    def first_step_seen(self) -> None:
        self._dense_until = max(self._dense_until, time.monotonic() + DENSE_SECONDS)

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        dense = now < self._dense_until
        self._next = now + (min(DENSE_INTERVAL_S, self.interval_s) if dense else self.interval_s)
        return True


class DeviceMonitor:
    """Takes samples of the GPUs and of the launcher's tree, and writes each to a JSONL file at once.

    The first sample of a launch is the baseline, taken before the launcher starts.
    """

    def __init__(self, path: Path, nvml: Nvml) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.samples: list[DeviceSample] = []
        self._nvml = nvml
        self._file: IO[str] = open(self.path, "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> DeviceMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take_baseline(self) -> None:
        self._keep(baseline=True, tree=())

    def take(self, tree: Sequence[int]) -> DeviceSample:
        """Sample now; ``tree`` holds the PIDs of the launcher and its descendants at this moment."""
        return self._keep(baseline=False, tree=tree)

    @property
    def gpus(self) -> list[GpuInfo]:
        return self._nvml.devices

    @property
    def problem(self) -> str | None:
        return self._nvml.problem

    def peak_memory_gib(self) -> float | None:
        """The most GPU memory that this launcher's processes held together; None where NVML does not tell."""
        peaks = [total for sample in self.samples if (total := _memory_of_tree(sample)) is not None]
        return max(peaks) if peaks else None

    def _keep(self, *, baseline: bool, tree: Sequence[int]) -> DeviceSample:
        sample = DeviceSample(
            time=time.time(),
            monotonic=time.monotonic(),
            baseline=baseline,
            gpus=tuple(self._nvml.sample()),
            tree=tuple(tree),
            cpu_s={pid: seconds for pid in tree if (seconds := _cpu_seconds(pid)) is not None},
        )
        self.samples.append(sample)
        self._file.write(json.dumps(asdict(sample)) + "\n")
        self._file.flush()
        return sample


def read_samples(path: Path) -> list[DeviceSample]:
    """The samples of a JSONL file that a ``DeviceMonitor`` wrote; a torn last line is left out."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    return [_sample_from(json.loads(line)) for line in lines]


def _sample_from(record: dict[str, Any]) -> DeviceSample:
    return DeviceSample(
        time=record["time"],
        monotonic=record["monotonic"],
        baseline=record["baseline"],
        gpus=tuple(GpuSample(**{**gpu, "processes": _by_pid(gpu["processes"])}) for gpu in record["gpus"]),
        tree=tuple(record["tree"]),
        cpu_s=_by_pid(record["cpu_s"]) or {},
    )


def _by_pid(record: dict[str, Any] | None) -> dict[int, Any] | None:
    """JSON has text keys only."""
    return None if record is None else {int(pid): value for pid, value in record.items()}


def _memory_of_tree(sample: DeviceSample) -> float | None:
    held = [
        memory
        for gpu in sample.gpus
        for pid, memory in (gpu.processes or {}).items()
        if pid in sample.tree and memory is not None
    ]
    return round(sum(held), 4) if held else None


def _cpu_seconds(pid: int) -> float | None:
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return round(times.user + times.system, 3)
    return None
