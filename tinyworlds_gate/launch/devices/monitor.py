"""Sample the devices while a chunk trains and write JSON lines: raw evidence for ``concurrency.py`` (L3, H6)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuInfo, Nvml
from tinyworlds_gate.run.owned import append_text_to
from tinyworlds_gate.run.process_stat import HAS_PROC, process_stat

DENSE_INTERVAL_S = 0.2
DENSE_SECONDS = 10.0
BURST_SECONDS = 4.0
BURST_EVERY_S = 30.0


@dataclass
class Cadence:
    """When to sample: every 0.2 s in the first 10 s, then every ``interval_s`` (from the start if it is below 0.2 s).

    Start-up can outlast those 10 s, and a GPU works in bursts. So another 10 s of dense samples follow the first step,
    and the first GPU work of the launcher's processes on each number of GPUs. Until the chunk ends, there are also 4 s
    of dense samples every 30 s, long enough to show concurrent work.
    """

    interval_s: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._begin = self.clock()
        self._dense_until = self._begin + DENSE_SECONDS
        self._next = 0.0
        self._most_working = 0

    def first_step_seen(self) -> None:
        """Start another 10 s of dense samples now, without waiting for the current interval to end."""
        now = self.clock()
        self._dense_until = max(self._dense_until, now + DENSE_SECONDS)
        self._next = min(self._next, now + DENSE_INTERVAL_S)

    def observe(self, sample: DeviceSample) -> None:
        """Start dense samples when a sample shows the launcher's processes working on more GPUs than before."""
        working = sum(
            gpu.util_pct != 0 and any(pid in sample.tree for pid in gpu.activity or ()) for gpu in sample.gpus
        )
        if working > self._most_working:
            self._most_working = working
            self.first_step_seen()

    @property
    def dense(self) -> bool:
        """Whether samples are currently taken every 0.2 s."""
        now = self.clock()
        return now < self._dense_until or (now - self._begin) % BURST_EVERY_S < BURST_SECONDS

    def due(self) -> bool:
        """Whether a sample is due now; if so, schedule the next one."""
        now = self.clock()
        if now < self._next:
            return False
        to_burst = BURST_EVERY_S - (now - self._begin) % BURST_EVERY_S
        self._next = now + (min(DENSE_INTERVAL_S, self.interval_s) if self.dense else min(self.interval_s, to_burst))
        return True


class DeviceMonitor:
    """Samples the GPUs and the launcher's process tree, and writes each sample to a JSONL file at once.

    The first sample of a launch is the baseline, taken before the launcher starts.
    """

    def __init__(self, path: Path, nvml: Nvml) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.samples: list[DeviceSample] = []
        self._nvml = nvml
        self._file: IO[str] = append_text_to(self.path)

    def __enter__(self) -> DeviceMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def gpus(self) -> list[GpuInfo]:
        return self._nvml.devices

    @property
    def problem(self) -> str | None:
        return self._nvml.problem

    def peak_memory_gib(self) -> float | None:
        """Return the peak GPU memory of this launcher's processes together (GiB); None if NVML does not report it."""
        peaks = [total for sample in self.samples if (total := _memory_of_tree(sample)) is not None]
        return max(peaks) if peaks else None

    def take(self, tree: Sequence[int], *, baseline: bool = False) -> DeviceSample:
        """Sample now; ``tree`` holds the PIDs of the launcher and its descendants at this moment."""
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
