"""Data read from a run's files at one moment; ``reader.py`` fills it and ``view.py`` evaluates it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tinyworlds_gate.watch.curve import CurvePart


@dataclass(frozen=True)
class WorkerBeat:
    """One heartbeat: 0-based last update (-1 before the first), wall time, monotonic time, CPU seconds."""

    rank: int
    pid: int
    device: str
    step: int
    time: float
    monotonic: float
    cpu_s: float


@dataclass(frozen=True)
class Arrivals:
    """Entries of a channel (Unix seconds): the newest entry, its time, and all times in the current chunk."""

    newest: str | None = None
    newest_time: float | None = None
    times: tuple[float, ...] = ()


@dataclass(frozen=True)
class GpuReading:
    """One GPU in the newest device sample; None means unknown."""

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
    """A stage's loss curve, oldest first, and its newest row."""

    curve: tuple[CurvePart, ...] = ()
    last_step: int | None = None
    last_loss: float | None = None
    lowest: float | None = None
    not_finite: int | None = None
    """The newest update with a NaN or infinite loss, or None."""


@dataclass(frozen=True)
class Facts:
    """All inputs of a view besides the journal."""

    beats: Mapping[int, tuple[WorkerBeat, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Rank → the newest heartbeats of the chunk, oldest first."""
    losses: Losses = Losses()
    history: Arrivals = Arrivals()
    checkpoints: Arrivals = Arrivals()
    pictures: Arrivals = Arrivals()
    devices: DeviceReading | None = None
    log_modified: float | None = None
    """Modification time of the current child's log."""
    journal_exists: bool = False
