"""Samples what the devices do while a chunk trains: raw evidence for ``judge.py``, kept as JSON lines (L3, H6)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from tinyworlds_gate.launch.devices.nvml import (
    DeviceSample,
    GpuInfo,
    GpuSample,
    Nvml,
    gpu_count,
    gpu_inventory,
    usable_gpus,
)
from tinyworlds_gate.launch.devices.together import judge_cpu_workers, judge_dual_gpu
from tinyworlds_gate.run.process_stat import HAS_PROC, process_stat

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
    "usable_gpus",
]

DENSE_INTERVAL_S = 0.2
DENSE_SECONDS = 10.0


@dataclass
class Cadence:
    """When to sample: every 0.2 s in the first 10 s, then every ``interval_s`` (seconds; a shorter one counts at once).

    Importing torch can take those 10 s, so the first step, and the first GPU work of the launcher's processes,
    each begin another 10 s of dense samples.
    """

    interval_s: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._dense_until = self.clock() + DENSE_SECONDS
        self._next = 0.0
        self._worked = False

    def first_step_seen(self) -> None:
        """Another 10 s of dense samples begin now, not when the present interval is over."""
        now = self.clock()
        self._dense_until = max(self._dense_until, now + DENSE_SECONDS)
        self._next = min(self._next, now + DENSE_INTERVAL_S)

    def noticed(self, sample: DeviceSample) -> None:
        """Look closer from the first sample on that shows GPU work of the launcher's own processes."""
        if not self._worked and any(set(gpu.activity or ()) & set(sample.tree) for gpu in sample.gpus):
            self._worked = True
            self.first_step_seen()

    @property
    def dense(self) -> bool:
        """Whether samples are taken every 0.2 s now."""
        return self.clock() < self._dense_until

    def due(self) -> bool:
        now = self.clock()
        if now < self._next:
            return False
        self._next = now + (min(DENSE_INTERVAL_S, self.interval_s) if self.dense else self.interval_s)
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
        gpus=tuple(_gpu_from(gpu) for gpu in record["gpus"]),
        tree=tuple(record["tree"]),
        cpu_s=_by_pid(record["cpu_s"]) or {},
    )


def _gpu_from(record: dict[str, Any]) -> GpuSample:
    """Samples that were kept before the field ``activity`` existed have none."""
    lists = {name: _by_pid(record.get(name)) for name in ("processes", "activity")}
    return GpuSample(**{**record, **lists})


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
    if HAS_PROC:
        stat = process_stat(pid)
        return None if stat is None else stat.cpu_s
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return round(times.user + times.system, 3)
    return None
