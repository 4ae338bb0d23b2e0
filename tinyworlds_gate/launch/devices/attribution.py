"""Attribute a GPU's work at one moment to this launcher's workers, to another process, or to nobody (pure; L3, H6).

A busy GPU with one of our contexts proves nothing: the context may be idle beside another process' work. Work is ours
if NVML reports utilisation by process and the process is in the launcher's tree. If NVML cannot report that (PIDs of
another namespace, or no utilisation by process), the worker's heartbeats count instead, together with the GPU's
utilisation and our context (or memory above the pre-launch baseline). Each rule needs positive evidence; a missing
field always means unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.launch.devices.spans import SHORTEST_PAUSE_S, Span, span_at, working_spans
from tinyworlds_gate.run.heartbeat import Beat

MEMORY_OVER_BASELINE_GIB = 0.05


class Proof(Enum):
    """Kind of evidence that attributes a GPU's work to our worker."""

    BY_PROCESS = "utilisation of this launcher's own processes"
    BY_CONTEXT = "heartbeats, utilisation and this launcher's contexts"
    BY_MEMORY = "heartbeats, utilisation and memory over the baseline"


@dataclass(frozen=True)
class Work:
    """One GPU at one moment. ``ours``: True, False, or None for unknown; ``pids``: our processes that worked.

    ``percent``: the largest utilisation of one of these processes, if the driver reports it by process.
    """

    ours: bool | None
    proof: Proof | None = None
    pids: frozenset[int] = frozenset()
    percent: float = 0.0


@dataclass(frozen=True)
class Rank:
    """A rank from its heartbeats, with the spans in which its step grew."""

    pid: int
    device: str
    spans: tuple[Span, ...]

    @staticmethod
    def of(beats: Sequence[Beat]) -> Rank:
        return Rank(beats[-1].pid, beats[-1].device, tuple(working_spans(beats, with_cpu=False)))

    def is_fine_at(self, moment: float) -> bool:
        """Whether its step grew around this moment in a span too short for another rank's turn."""
        span = span_at(self.spans, moment)
        return span is not None and span[1] - span[0] <= SHORTEST_PAUSE_S


@dataclass(frozen=True)
class Attribution:
    """Facts of a launch that are needed to attribute the work in a single sample."""

    tree: frozenset[int]
    threshold_pct: float
    baseline_gib: Mapping[str, float]
    rank_on: Mapping[str, Rank]
    """By GPU UUID; empty unless the heartbeats name the GPU of every rank."""

    def work_on(self, gpu: GpuSample, sample: DeviceSample) -> Work:
        """Return whether our worker worked on this GPU now: the GPU is busy, the work is ours, and the step grew."""
        busy = None if gpu.util_pct is None else gpu.util_pct >= self.threshold_pct
        rank = self.rank_on.get(gpu.uuid)
        owner = self._owner(gpu, sample, rank, busy)
        advancing = rank is None or span_at(rank.spans, sample.monotonic) is not None
        signs = (busy, owner.ours, advancing)
        return Work(False) if False in signs else Work(None) if None in signs else owner

    def present(self, sample: DeviceSample) -> bool:
        """Whether one of our workers was seen on any GPU at this moment."""
        if any(self._contexts(gpu) or self._active(gpu) for gpu in sample.gpus):
            return True
        return any(self._over_baseline(gpu) for gpu in sample.gpus)

    def _owner(self, gpu: GpuSample, sample: DeviceSample, rank: Rank | None, busy: bool | None) -> Work:
        if gpu.activity is None:
            return self._by_heartbeats(gpu, sample, rank) if gpu.activity_told is False else Work(None)
        working = {pid for pid, percent in gpu.activity.items() if percent >= self.threshold_pct}
        own = working & ({rank.pid} if rank is not None else self.tree)
        if own:
            return Work(True, Proof.BY_PROCESS, frozenset(own), max(gpu.activity[pid] for pid in own))
        if not working:  # a busy GPU without a working process: a gap in the driver's samples
            return Work(False if busy is False else None)
        return Work(False) if self._reports_own_pids(sample) else self._by_heartbeats(gpu, sample, rank)

    def _by_heartbeats(self, gpu: GpuSample, sample: DeviceSample, rank: Rank | None) -> Work:
        """Attribute by heartbeats with our context or memory, if utilisation by process cannot show our PIDs."""
        if not all(_is_complete(one) for one in sample.gpus):
            return Work(None)
        own = self._contexts(gpu)
        if not own and any(self._contexts(one) for one in sample.gpus):
            return Work(None if rank is not None else False)  # our PIDs are visible, but on another GPU
        if rank is None:
            return Work(None)
        if own:
            return Work(True, Proof.BY_CONTEXT, frozenset({rank.pid}))
        over = self._over_baseline(gpu)
        return Work(over, Proof.BY_MEMORY, frozenset({rank.pid})) if over else Work(over)

    def _reports_own_pids(self, sample: DeviceSample) -> bool:
        """Whether utilisation by process would show our PIDs.

        It does if it shows them on some GPU, or if it uses the same PIDs as the list of contexts and that list shows
        them. (In a container, one list can have host PIDs and the other container PIDs.)
        """
        if any(self._active(gpu) for gpu in sample.gpus):
            return True
        ours = any(self._contexts(gpu) for gpu in sample.gpus)
        return ours and any(set(gpu.activity or ()) & set(gpu.processes or ()) for gpu in sample.gpus)

    def _contexts(self, gpu: GpuSample) -> Collection[int]:
        return set(gpu.processes or ()) & self.tree

    def _active(self, gpu: GpuSample) -> Collection[int]:
        return set(gpu.activity or ()) & self.tree

    def _over_baseline(self, gpu: GpuSample) -> bool | None:
        before = self.baseline_gib.get(gpu.uuid)
        if before is None or gpu.memory_used_gib is None:
            return None
        return gpu.memory_used_gib > before + MEMORY_OVER_BASELINE_GIB


def baseline_memory(samples: Sequence[DeviceSample]) -> dict[str, float]:
    """Return the largest memory in use before the launch, by GPU (GiB)."""
    found: dict[str, float] = {}
    for gpu in (gpu for sample in samples if sample.baseline for gpu in sample.gpus):
        if gpu.memory_used_gib is not None:
            found[gpu.uuid] = max(gpu.memory_used_gib, found.get(gpu.uuid, 0.0))
    return found


def _is_complete(gpu: GpuSample) -> bool:
    """Whether both process lists are present, or the driver does not support utilisation by process."""
    return gpu.processes is not None and (gpu.activity is not None or gpu.activity_told is False)
