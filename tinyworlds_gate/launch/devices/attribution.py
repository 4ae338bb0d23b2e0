"""Whose work a GPU did at one moment: a worker of this launcher's, another's, or not known (pure; L3, H6).

A busy GPU and a context of ours on it prove nothing together: the context may idle beside another's work. Work is
ours where NVML tells utilisation by process and the process is in the launcher's tree. Where it cannot tell (PIDs of
another namespace, or no utilisation by process at all) the worker's own heartbeats stand in, joined with utilisation
and with its context (or memory over the pre-launch baseline). Each rule asks for something that was seen; a missing
field leads to "not known" and never opens another way.
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
    """What tied a GPU's work to our worker."""

    BY_PROCESS = "utilisation of this launcher's own processes"
    BY_CONTEXT = "heartbeats, utilisation and this launcher's contexts"
    BY_MEMORY = "heartbeats, utilisation and memory over the baseline"


@dataclass(frozen=True)
class Work:
    """One GPU at one moment. ``ours``: True, False, or None for "not known"; ``pids``: those of ours that worked."""

    ours: bool | None
    proof: Proof | None = None
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Rank:
    """A rank as its heartbeats name it, with the spans in which its step grew."""

    pid: int
    device: str
    spans: tuple[Span, ...]

    @staticmethod
    def of(beats: Sequence[Beat]) -> Rank:
        return Rank(beats[-1].pid, beats[-1].device, tuple(working_spans(beats, with_cpu=False)))

    def is_fine_at(self, moment: float) -> bool:
        """Whether its step grew around this moment within a time that no turn of another rank fits into."""
        span = span_at(self.spans, moment)
        return span is not None and span[1] - span[0] <= SHORTEST_PAUSE_S


@dataclass(frozen=True)
class Attribution:
    """The facts of a launch that a single sample is read with."""

    tree: frozenset[int]
    threshold_pct: float
    baseline_gib: Mapping[str, float]
    rank_on: Mapping[str, Rank]
    """By GPU UUID; empty where the heartbeats do not name a GPU of every rank."""

    def work_on(self, gpu: GpuSample, sample: DeviceSample) -> Work:
        """Whether our worker worked on this GPU at this moment: utilisation, whose it was, and a step that grew."""
        busy = None if gpu.util_pct is None else gpu.util_pct >= self.threshold_pct
        rank = self.rank_on.get(gpu.uuid)
        owner = self._owner(gpu, sample, rank, busy)
        advancing = rank is None or span_at(rank.spans, sample.monotonic) is not None
        signs = (busy, owner.ours, advancing)
        return Work(False) if False in signs else Work(None) if None in signs else owner

    def present(self, sample: DeviceSample) -> bool:
        """Whether a worker of ours was seen on any GPU at this moment (before that nothing can be missed)."""
        if any(self._contexts(gpu) or self._active(gpu) for gpu in sample.gpus):
            return True
        return any(self._over_baseline(gpu) for gpu in sample.gpus)

    def _owner(self, gpu: GpuSample, sample: DeviceSample, rank: Rank | None, busy: bool | None) -> Work:
        if gpu.activity is None:
            return self._stand_in(gpu, sample, rank) if gpu.activity_told is False else Work(None)
        working = {pid for pid, percent in gpu.activity.items() if percent >= self.threshold_pct}
        own = working & ({rank.pid} if rank is not None else self.tree)
        if own:
            return Work(True, Proof.BY_PROCESS, frozenset(own))
        if not working:  # a busy GPU on which nobody works is a gap in the driver's samples
            return Work(False if busy is False else None)
        return Work(False) if self._tells_ours(sample) else self._stand_in(gpu, sample, rank)

    def _stand_in(self, gpu: GpuSample, sample: DeviceSample, rank: Rank | None) -> Work:
        """Where utilisation by process cannot show our PIDs: heartbeats of this GPU, with our context or memory."""
        if not all(_is_whole(one) for one in sample.gpus):
            return Work(None)
        own = self._contexts(gpu)
        if not own and any(self._contexts(one) for one in sample.gpus):
            return Work(None if rank is not None else False)  # PIDs resolve, and ours are elsewhere
        if rank is None:
            return Work(None)
        if own:
            return Work(True, Proof.BY_CONTEXT, frozenset({rank.pid}))
        over = self._over_baseline(gpu)
        return Work(over, Proof.BY_MEMORY, frozenset({rank.pid})) if over else Work(over)

    def _tells_ours(self, sample: DeviceSample) -> bool:
        """Whether utilisation by process would show our PIDs: it does on some GPU, or it lists processes as contexts
        are listed and those show ours (a container can have the host's PIDs in one list and its own in the other)."""
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
    """The largest memory in use before the launch, by GPU (GiB)."""
    found: dict[str, float] = {}
    for gpu in (gpu for sample in samples if sample.baseline for gpu in sample.gpus):
        if gpu.memory_used_gib is not None:
            found[gpu.uuid] = max(gpu.memory_used_gib, found.get(gpu.uuid, 0.0))
    return found


def _is_whole(gpu: GpuSample) -> bool:
    """Whether the lists of processes are there, or the driver said that it has none to tell."""
    return gpu.processes is not None and (gpu.activity is not None or gpu.activity_told is False)
