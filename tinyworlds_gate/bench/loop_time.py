"""Break a run's time down by its journal, and sample the CPU time of a process."""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from tinyworlds_gate.run.journal import Event

SHOWN_STEPS = 5
LIVES = {
    "chunk_started": "chunk_finished",
    "inference_started": "inference_finished",
    "probe_started": "probe_finished",
}


@dataclass(frozen=True)
class LoopTime:
    """A run's time in parts, from its journal."""

    total_s: float
    children_s: float
    data_s: float
    """Generating the frames on first use."""
    steps: Sequence[tuple[str, float]]
    """The longest spans between two events outside the children's lives, longest first."""

    @property
    def loop_s(self) -> float:
        """Everything outside the lives of training and inference children, without generating the frames."""
        return self.total_s - self.children_s - self.data_s


def loop_time(events: Sequence[Event]) -> LoopTime:
    """The loop time that a journal tells: from each start of its process to that process' last event."""
    starts = [number for number, event in enumerate(events) if event["event"] == "run_started"] + [len(events)]
    total = sum(events[last - 1]["time"] - events[first]["time"] for first, last in itertools.pairwise(starts))
    children = sum(end - begin for begin, end in child_lives(events))
    made = sum(
        float(event["seconds"]) for event in events if event["event"] == "dataset_ready" and event.get("generated")
    )
    steps = [
        (f"{before['event']} → {after['event']}", after["time"] - before["time"] - _child_s(after))
        for before, after in itertools.pairwise(events)
        if after["event"] != "run_started" and not (after["event"] == "dataset_ready" and after.get("generated"))
    ]
    longest = sorted(steps, key=lambda step: step[1], reverse=True)[:SHOWN_STEPS]
    return LoopTime(total, children, made, longest)


def child_lives(events: Sequence[Event]) -> list[tuple[float, float]]:
    """(begin, end) of each training launcher and inference process, seconds of the journal's clock."""
    lives, begun = [], 0.0
    for event in events:
        if event["event"] in LIVES:
            begun = float(event["time"])
        elif event["event"] in LIVES.values() and event.get("wall_s") is not None:
            lives.append((begun, begun + float(event["wall_s"])))
    return lives


def _child_s(event: Event) -> float:
    return float(event.get("wall_s") or 0.0) if event["event"] in LIVES.values() else 0.0


@dataclass
class CpuTrace:
    """CPU seconds of one process, its children not counted, by the clock."""

    moments: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def take(self, process: psutil.Process) -> None:
        """Note it now; a process that is gone keeps what was noted last."""
        try:
            times = process.cpu_times()
        except psutil.Error:
            return
        self.moments.append(time.time())
        self.cpu_s.append(float(times.user + times.system))

    def at(self, moment: float) -> float:
        """CPU seconds used up to a moment, straight between two notes."""
        after = bisect.bisect_left(self.moments, moment)
        if after == 0:
            return self.cpu_s[0]
        if after == len(self.moments):
            return self.cpu_s[-1]
        (early, late), (low, high) = self.moments[after - 1 : after + 1], self.cpu_s[after - 1 : after + 1]
        return low + (high - low) * (moment - early) / (late - early)

    def percent(self, spans: Sequence[tuple[float, float]]) -> list[float]:
        """Share of a core within each span that lies inside the trace, percent."""
        if not self.moments:
            return []
        inside = [(max(begin, self.moments[0]), min(end, self.moments[-1])) for begin, end in spans]
        return [100 * (self.at(end) - self.at(begin)) / (end - begin) for begin, end in inside if end > begin]
