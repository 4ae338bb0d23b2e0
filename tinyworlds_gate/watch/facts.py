"""What the files of a run say at one moment, as plain data; read by ``reader.py``, judged by ``view.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tinyworlds_gate.watch.curve import CurvePart


@dataclass(frozen=True)
class WorkerBeat:
    """One heartbeat: 0-based update just done (-1 before the first), wall time, the machine's monotonic clock, CPU."""

    rank: int
    pid: int
    device: str
    step: int
    time: float
    monotonic: float
    cpu_s: float


@dataclass(frozen=True)
class Moves:
    """A channel of a stage (Unix seconds): its newest entry, when that appeared, and the times in the watched chunk."""

    newest: str | None = None
    newest_time: float | None = None
    times: tuple[float, ...] = ()


@dataclass(frozen=True)
class GpuReading:
    """One GPU in the newest device sample; None is "not known"."""

    uuid: str
    util_pct: float | None
    memory_used_gib: float | None
    own_processes: int | None
    """Processes on it that belong to the launcher."""


@dataclass(frozen=True)
class DeviceReading:
    """The newest device sample that the harness took (Unix seconds)."""

    time: float
    gpus: tuple[GpuReading, ...]


@dataclass(frozen=True)
class Losses:
    """A stage's losses by update: the curve, oldest first, and what the newest row says."""

    curve: tuple[CurvePart, ...] = ()
    last_step: int | None = None
    last_loss: float | None = None
    lowest: float | None = None
    not_finite: int | None = None
    """The newest update whose loss was NaN or infinite; None without any."""


@dataclass(frozen=True)
class Facts:
    """Everything beside the journal that a view is made of."""

    beats: Mapping[int, tuple[WorkerBeat, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Rank → the newest heartbeats of the chunk, oldest first."""
    losses: Losses = Losses()
    history: Moves = Moves()
    checkpoints: Moves = Moves()
    pictures: Moves = Moves()
    devices: DeviceReading | None = None
    log_modified: float | None = None
    """Of the log of the child that runs now."""
    journal_there: bool = False
