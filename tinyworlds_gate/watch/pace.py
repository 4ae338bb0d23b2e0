"""Compute a chunk's update rate and its workers' CPU usage from heartbeats (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyworlds_gate.watch.facts import WorkerBeat

RATE_WINDOW_S = 120.0
CPU_WINDOW_S = 30.0
LEAST_SPAN_S = 1.0


@dataclass(frozen=True)
class Pace:
    """``step``: last update of all workers (-1 before the first, None without heartbeats); ``times``: when it grew.

    ``updates_per_s``: over the last two minutes in which it grew; None with too little data.
    """

    step: int | None = None
    times: tuple[float, ...] = ()
    updates_per_s: float | None = None


def pace_of(beats: Mapping[int, Sequence[WorkerBeat]]) -> Pace:
    """Return the pace of a chunk: that of its slowest worker."""
    if not beats or not all(beats.values()):
        return Pace()
    slowest = min(beats.values(), key=lambda own: own[-1].step)
    moved = [
        beat for at, beat in enumerate(slowest) if beat.step >= 0 and (at == 0 or beat.step > slowest[at - 1].step)
    ]
    return Pace(slowest[-1].step, tuple(beat.time for beat in moved), _rate(moved))


def _rate(moved: Sequence[WorkerBeat]) -> float | None:
    if len(moved) < 2:
        return None
    last = moved[-1]
    first = next(beat for beat in moved if last.monotonic - beat.monotonic <= RATE_WINDOW_S)
    first = moved[-2] if first is last else first
    span_s = last.monotonic - first.monotonic
    return (last.step - first.step) / span_s if span_s >= LEAST_SPAN_S else None


def cpu_share(beats: Sequence[WorkerBeat]) -> float | None:
    """Return a worker's CPU usage over its last 30 s; 1.0 is one full core."""
    if len(beats) < 2:
        return None
    last = beats[-1]
    first = next(beat for beat in beats if last.monotonic - beat.monotonic <= CPU_WINDOW_S)
    span_s = last.monotonic - first.monotonic
    return (last.cpu_s - first.cpu_s) / span_s if span_s >= LEAST_SPAN_S else None
