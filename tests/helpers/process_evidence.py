"""Build device samples and heartbeats for tests of the H6 decision."""

from __future__ import annotations

from collections.abc import Sequence

from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.run.heartbeat import Beat

GPU0, GPU1 = "GPU-0000", "GPU-1111"
LAUNCHER, WORKER0, WORKER1, FOREIGN = 100, 101, 102, 999
TREE = (LAUNCHER, WORKER0, WORKER1)


def gpu(
    uuid: str,
    util: float | None,
    pids: Sequence[int] | None = (),
    memory_gib: float | None = 2.0,
    *,
    active: Sequence[int] | None = None,
    supported: bool | None = True,
) -> GpuSample:
    """Return a GPU sample; ``active``: the processes that worked on it (default: all of ``pids`` if it is busy).

    ``supported=False``: the driver does not support utilisation by process; None: the call failed.
    """
    processes: dict[int, float | None] | None = None if pids is None else dict.fromkeys(pids, 1.0)
    working = (pids or ()) if active is None and util else active or ()
    activity = dict.fromkeys(working, util or 1.0) if supported else None
    return GpuSample(uuid, util, memory_gib, processes, activity, supported)


def sample_at(moment: float, *gpus: GpuSample, baseline: bool = False) -> DeviceSample:
    return DeviceSample(moment, moment, baseline, tuple(gpus), () if baseline else TREE)


def repeated(*gpus: GpuSample, begin: float = 10.0, count: int = 20, every_s: float = 0.2) -> list[DeviceSample]:
    """Return the same sample ``count`` times."""
    return [sample_at(begin + every_s * index, *gpus) for index in range(count)]


def beats(
    rank: int,
    device: str = "cpu",
    *,
    begin: float = 9.0,
    end: float = 20.0,
    every_s: float = 0.5,
    stuck_at: int | None = None,
    cpu_per_s: float = 1.0,
    pid: int | None = None,
) -> list[Beat]:
    """Return heartbeats of a rank that does a step every ``every_s``; with ``stuck_at`` its step stays there."""
    found = []
    for index in range(int((end - begin) / every_s) + 1):
        moment = begin + index * every_s
        step = index if stuck_at is None else min(index, stuck_at)
        found.append(
            Beat(
                rank=rank,
                pid=pid if pid is not None else (WORKER0, WORKER1)[rank],
                create_time=1.0,
                host="here",
                device=device,
                step=step,
                updates=step + 1,
                time=moment,
                monotonic=moment,
                cpu_s=cpu_per_s * (moment - begin),
                dumps_stack=True,
            )
        )
    return found
