"""Watch a checkout's chunk by its log and GPUs: no heartbeats, and no signals but SIGTERM and SIGKILL.

pytest tests/unit/launch/test_checkout_watch.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from tests.helpers.stand_in import write_sources
from tinyworlds_gate.launch.chunk_watch import SILENT_GPU_FACTOR, ChunkSettings, ChunkWatch
from tinyworlds_gate.launch.command import TERM_AND_KILL_VARIABLE
from tinyworlds_gate.launch.devices.monitor import DeviceMonitor
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.launch.processes.end import end_processes
from tinyworlds_gate.launch.processes.find import facts_of
from tinyworlds_gate.run.identity import own_identity
from tinyworlds_gate.targets.checkout import checkout_target

STALL_S = 100.0


@dataclass
class Monitor:
    """GPUs that this process uses at ``percent``; None: NVML does not report it."""

    percent: float | None = None
    samples: list[DeviceSample] = field(default_factory=list)

    def take(self, tree: list[int]) -> DeviceSample:
        activity = None if self.percent is None else {os.getpid(): self.percent}
        gpu = GpuSample(uuid="GPU-0", util_pct=99.0, memory_used_gib=1.0, processes={}, activity=activity)
        sample = DeviceSample(time.time(), time.monotonic(), False, (gpu,), tuple(tree), {})
        self.samples.append(sample)
        return sample


def watch_of(tmp_path: Path, monitor: Monitor, **more: Any) -> ChunkWatch:
    target = checkout_target(write_sources(tmp_path / "checkout", "tinyworlds-fork"))
    assert target is not None
    log = tmp_path / "chunk.log"
    log.write_text("Dynamics Training\n")
    return ChunkWatch(
        target=target,
        settings=ChunkSettings(1, 0.001, 1.0, 2, False, 10_000.0, STALL_S),
        monitor=cast(DeviceMonitor, monitor),
        heartbeats=tmp_path / "heartbeats",
        token="x",
        launcher=own_identity,
        log_path=log,
        **more,
    )


def test_a_growing_log_keeps_a_chunk_alive_and_a_silent_one_ends_it(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, Monitor())
    assert watch.poll(1.0) is None
    watch.log_path.write_text("Dynamics Training\nmore\n")
    assert watch.poll(90.0) is None
    assert watch.poll(189.0) is None
    reason = watch.poll(191.0)
    assert reason is not None
    assert reason.startswith("its log did not grow for 101 s, and its GPUs showed no work that counts")
    assert "and never finished a first one" in reason


def test_work_on_its_gpus_keeps_a_silent_log_alive_but_not_for_ever(tmp_path: Path) -> None:
    """A hanging collective keeps its GPU busy too."""
    watch = watch_of(tmp_path, Monitor(percent=80.0))
    last = 1.0
    assert watch.poll(last) is None
    while (reason := watch.poll(last)) is None:
        last += STALL_S / 4
    assert SILENT_GPU_FACTOR * STALL_S < last <= (SILENT_GPU_FACTOR + 1.3) * STALL_S
    assert "its log did not grow for" in reason


def test_a_busy_gpu_that_nvml_attributes_to_no_process_does_not_count(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, Monitor(percent=None))
    assert watch.poll(1.0) is None
    assert watch.poll(STALL_S + 2) is not None


def test_the_progress_bar_gives_the_step(tmp_path: Path) -> None:
    seen: list[int] = []
    watch = watch_of(tmp_path, Monitor(), updates=900, progress=lambda step, _: seen.append(step))
    watch.poll(1.0)
    bars = "Loading 64000 frames:  8%|#   | 5/63 [00:00<00:01]\r  1%|#   | 12/900 [00:04<09:00,  1.5it/s]"
    watch.log_path.write_bytes(b"\xff\xfe\r\n" + bars.encode())
    watch.poll(2.0)
    assert (watch.step, seen) == (11, [11])
    reason = watch.poll(200.0)
    assert reason is not None
    assert "after step 11" in reason


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("foreign", [True, False])
def test_a_stopped_process_of_a_checkout_is_killed_and_not_resumed(foreign: bool) -> None:
    """SIGCONT would be a third signal; stopped workers of the embedded reference are resumed instead."""
    environment = {**os.environ, **({TERM_AND_KILL_VARIABLE: "1"} if foreign else {})}
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)
    try:
        deadline = time.monotonic() + 10
        while b"-c" not in Path(f"/proc/{sleeper.pid}/cmdline").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        sleeper.send_signal(signal.SIGSTOP)
        while psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(0.01)
        facts = facts_of(psutil.Process(sleeper.pid))
        assert facts is not None
        (record,) = end_processes([facts], grace_s=0.5)
        assert record.signal == ("SIGKILL" if foreign else "SIGTERM")
    finally:
        sleeper.kill()
        sleeper.wait()
