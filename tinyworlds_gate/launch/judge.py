"""Decides from samples and heartbeats whether all workers of a launch worked at the same time (pure; L3, H6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from tinyworlds_gate.launch.nvml import GpuSample
from tinyworlds_gate.launch.samples import DeviceSample
from tinyworlds_gate.run.heartbeat import Beat

Judgement = tuple[bool | None, str]
Span = tuple[float, float]

# NVML's utilisation is an average over up to 1 s: without heartbeats, two samples closer than this may show one GPU's
# end and the other's beginning as one moment.
UTILISATION_WINDOW_S = 1.2
MEMORY_OVER_BASELINE_GIB = 0.05
_SHORTEST_GAP_S = 3.0
_LONGEST_GAP_S = 10.0


def judge_dual_gpu(
    samples: Sequence[DeviceSample],
    heartbeats: Sequence[Beat],
    launcher_tree: Collection[int],
    nproc: int,
    threshold_pct: float,
    required_samples: int,
) -> Judgement:
    """True, False or None ("unknown"), and the reason.

    True needs ``required_samples`` moments at which every one of ``nproc`` GPUs was busy (``threshold_pct``) with a
    process of ``launcher_tree``; where PIDs do not resolve (PID namespaces), with memory over the pre-launch
    baseline under a rank whose heartbeats name that GPU. Where heartbeats exist, the rank's step must also advance
    across the moment. Missing data is unknown, never a yes and never zero.
    """
    if nproc < 2:
        return None, f"nproc_per_node={nproc}: one worker was asked for, so H6 does not apply"
    looks = [sample for sample in samples if not sample.baseline and sample.gpus]
    if not looks:
        return None, "unknown: no sample of a GPU was taken while the chunk ran"
    ranks = _ranks(heartbeats)
    devices = {rank: beats[-1].device for rank, beats in ranks.items() if rank < nproc}
    seen = {gpu.uuid for sample in looks for gpu in sample.gpus}
    named = len(devices) == nproc and set(devices.values()) <= seen
    holding = {gpu.uuid for sample in looks for gpu in sample.gpus if _own(gpu, launcher_tree)}
    resolved = bool(holding)
    if named:
        wanted = set(devices.values())
        if len(wanted) < nproc:
            return False, f"the ranks share GPUs: {_list(f'rank {r} on {d}' for r, d in sorted(devices.items()))}"
        if resolved and not wanted <= holding:
            return None, (
                f"unknown: heartbeats name {_list(sorted(wanted))}, but NVML shows this launcher's processes "
                f"on {_list(sorted(holding))} only"
            )
    elif resolved:
        wanted = holding
        if len(wanted) < nproc:
            return _too_few_gpus(looks, wanted, launcher_tree, nproc, required_samples)
    else:
        return None, (
            "unknown: no compute process that NVML reports is in the launcher's tree (a container's PIDs?), "
            f"and heartbeats name the GPU of {len(devices)} of {nproc} ranks"
        )
    activity = _Activity(samples, ranks if named else {}, devices if named else {}, launcher_tree, resolved)
    moments = [{uuid: activity.of(sample, uuid, threshold_pct) for uuid in wanted} for sample in looks]
    together = [look.monotonic for look, moment in zip(looks, moments, strict=True) if _busy(moment) >= nproc]
    counted = together if named else _apart(together, UTILISATION_WINDOW_S)
    how = _how(resolved, named)
    if len(counted) >= required_samples:
        return (
            True,
            f"{nproc} GPUs ({_list(sorted(wanted))}) busy together in {len(counted)} of {len(looks)} samples {how}",
        )
    known = sum(
        activity.present(look) and None not in moment.values() for look, moment in zip(looks, moments, strict=True)
    )
    if known < required_samples:
        return (
            None,
            f"unknown: only {known} samples show the workers on their GPUs, {required_samples} are needed {how}",
        )
    shares = {uuid: sum(moment[uuid] is True for moment in moments) for uuid in sorted(wanted)}
    each = _list(f"{uuid} in {count}" for uuid, count in shares.items())
    return (
        False,
        f"busy together in {len(counted)} of {required_samples} needed samples; of {len(looks)} taken, {each} {how}",
    )


def judge_cpu_workers(heartbeats: Sequence[Beat], nproc: int) -> Judgement:
    """The same evidence on a machine without GPUs: every rank advanced its step and used CPU time at the same time."""
    ranks = _ranks(heartbeats)
    missing = [rank for rank in range(nproc) if len(ranks.get(rank, ())) < 2]
    if missing:
        return None, f"unknown: fewer than 2 heartbeats of rank {_list(map(str, missing))} of {nproc}"
    if len({ranks[rank][-1].pid for rank in range(nproc)}) < nproc:
        return None, "unknown: heartbeats of different ranks carry one PID"
    spans = {rank: _working_spans(ranks[rank], with_cpu=True) for rank in range(nproc)}
    idle = [rank for rank in range(nproc) if not spans[rank]]
    if idle:
        return False, f"rank {_list(map(str, idle))} of {nproc} never advanced a step with CPU time"
    shared = spans[0]
    for rank in range(1, nproc):
        shared = _intersect(shared, spans[rank])
    together_s = sum(end - begin for begin, end in shared)
    if together_s <= 0:
        return False, f"the {nproc} workers worked one after the other, never at the same time"
    return True, f"{nproc} CPU workers advanced together for {together_s:.1f} s"


class _Activity:
    """What one sample says about one GPU, with the heartbeats joined in."""

    def __init__(
        self,
        samples: Sequence[DeviceSample],
        ranks: Mapping[int, Sequence[Beat]],
        devices: Mapping[int, str],
        tree: Collection[int],
        resolved: bool,
    ) -> None:
        self._baseline = _baseline_memory(samples)
        self._working = {device: _working_spans(ranks[rank], with_cpu=False) for rank, device in devices.items()}
        self._tree = tree
        self._resolved = resolved

    def of(self, sample: DeviceSample, uuid: str, threshold_pct: float) -> bool | None:
        """Busy with our worker: True, False, or None where the sample does not tell."""
        gpu = next((one for one in sample.gpus if one.uuid == uuid), None)
        if gpu is None:
            return None
        busy = None if gpu.util_pct is None else gpu.util_pct >= threshold_pct
        ours = self._holds_worker(gpu)
        advancing = _covers(self._working[uuid], sample.monotonic) if uuid in self._working else True
        signs = (busy, ours, advancing)
        return False if False in signs else None if None in signs else True

    def present(self, sample: DeviceSample) -> bool:
        """Whether any worker of ours was seen on a GPU at this moment."""
        return any(self._holds_worker(gpu) for gpu in sample.gpus)

    def _holds_worker(self, gpu: GpuSample) -> bool | None:
        if self._resolved:
            return None if gpu.processes is None else bool(_own(gpu, self._tree))
        before = self._baseline.get(gpu.uuid)
        if before is None or gpu.memory_used_gib is None:
            return None
        return gpu.memory_used_gib > before + MEMORY_OVER_BASELINE_GIB


def _too_few_gpus(
    looks: Sequence[DeviceSample], wanted: set[str], tree: Collection[int], nproc: int, required: int
) -> Judgement:
    complete = [look for look in looks if all(gpu.processes is not None for gpu in look.gpus)]
    with_workers = sum(any(_own(gpu, tree) for gpu in look.gpus) for look in complete)
    if with_workers < required:
        return None, f"unknown: workers were seen on a GPU in {with_workers} samples, {required} are needed"
    return False, f"this launcher's processes ran on {len(wanted)} of {nproc} GPUs only: {_list(sorted(wanted))}"


def _ranks(heartbeats: Sequence[Beat]) -> dict[int, list[Beat]]:
    """Each rank's beats in time order, of its newest process only."""
    by_rank: dict[int, list[Beat]] = {}
    for beat in sorted(heartbeats, key=lambda one: one.monotonic):
        by_rank.setdefault(beat.rank, []).append(beat)
    return {
        rank: [one for one in beats if (one.pid, one.create_time) == (beats[-1].pid, beats[-1].create_time)]
        for rank, beats in by_rank.items()
    }


def _longest_gap(beats: Sequence[Beat]) -> float:
    """Beats further apart than this are no continuous work: 3 usual gaps, within 3 to 10 s."""
    gaps = [later.monotonic - earlier.monotonic for earlier, later in pairwise(beats)]
    return min(_LONGEST_GAP_S, max(_SHORTEST_GAP_S, 3 * median(gaps))) if gaps else 0.0


def _working_spans(beats: Sequence[Beat], *, with_cpu: bool) -> list[Span]:
    """Where the step grew from one beat to the next without a long pause (and CPU time was used), in time order."""
    longest = _longest_gap(beats)
    return [
        (earlier.monotonic, later.monotonic)
        for earlier, later in pairwise(beats)
        if later.step > earlier.step
        and later.monotonic - earlier.monotonic <= longest
        and (later.cpu_s > earlier.cpu_s or not with_cpu)
    ]


def _covers(spans: Sequence[Span], moment: float) -> bool:
    at = bisect_right(spans, (moment, float("inf"))) - 1
    return at >= 0 and moment < spans[at][1]


def _intersect(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    shared: list[Span] = []
    left = right = 0
    while left < len(first) and right < len(second):
        begin = max(first[left][0], second[right][0])
        end = min(first[left][1], second[right][1])
        if begin < end:
            shared.append((begin, end))
        if first[left][1] <= second[right][1]:
            left += 1
        else:
            right += 1
    return shared


def _baseline_memory(samples: Sequence[DeviceSample]) -> dict[str, float]:
    """The largest memory in use before the launch, by GPU."""
    found: dict[str, float] = {}
    for gpu in (gpu for sample in samples if sample.baseline for gpu in sample.gpus):
        if gpu.memory_used_gib is not None:
            found[gpu.uuid] = max(gpu.memory_used_gib, found.get(gpu.uuid, 0.0))
    return found


def _own(gpu: GpuSample, tree: Collection[int]) -> set[int]:
    return set(gpu.processes or ()) & set(tree)


def _busy(moment: Mapping[str, bool | None]) -> int:
    return sum(state is True for state in moment.values())


def _apart(moments: Sequence[float], least_s: float) -> list[float]:
    kept: list[float] = []
    for moment in moments:
        if not kept or moment - kept[-1] >= least_s:
            kept.append(moment)
    return kept


def _how(resolved: bool, named: bool) -> str:
    return f"(by {'compute PIDs' if resolved else 'memory over the baseline'}{' and heartbeats' if named else ''})"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
