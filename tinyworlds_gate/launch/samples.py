"""The plain record of one look at the devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinyworlds_gate.launch.nvml import GpuSample


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
