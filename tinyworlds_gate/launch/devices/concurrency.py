"""Decide from samples and heartbeats whether all workers of a launch worked at the same time (pure; L3, H6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinyworlds_gate.launch.devices.attribution import Attribution, Proof, Rank, Work, baseline_memory
from tinyworlds_gate.launch.devices.nvml import DeviceSample
from tinyworlds_gate.launch.devices.spans import beats_by_rank, shared_spans, working_spans
from tinyworlds_gate.run.heartbeat import Beat

Judgement = tuple[bool | None, str]

# NVML averages utilisation over up to about 1 s, and that of a process over up to 2 s. If one GPU stops and the other
# starts, samples show both as busy for that long; only a longer unbroken chain of samples shows concurrent work. If
# closely spaced heartbeats confirm each sample, the samples only have to span more than one averaging period.
MIN_CHAIN_S = 2.5
AVERAGING_S = 1.0
CHAIN_GAP_S = 0.75
# A training that is shorter than this cannot be seen: the averages above are as long as it.
SHORTEST_SEEN_S = 3.0
# Utilisation by process is the share of the last 1.2 s in which a process computed. The shares of two processes that
# take turns add up to at most 100 %. The driver's entries of two GPUs end up to 0.2 s apart, which adds up to 17 %
# (measured with turns: 101 %, docs/results/devices-two-h100). Above 120 %, the two computed at the same time.
OVERLAP_MARGIN_PCT = 20.0
MIG_PREFIX = "MIG-"


def judge_dual_gpu(
    samples: Sequence[DeviceSample],
    heartbeats: Sequence[Beat],
    launcher_tree: Collection[int],
    nproc: int,
    threshold_pct: float,
    required_samples: int,
) -> Judgement:
    """Return True, False or None (unknown), and the reason.

    True needs ``required_samples`` moments at which ``nproc`` GPUs did work of ``nproc`` processes of
    ``launcher_tree`` (``attribution.py`` attributes work to processes). If heartbeats name the GPU of every rank, each
    rank's step must also grow across the moment; closely spaced heartbeats confirm the moment. Otherwise a moment
    counts if the processes' shares of GPU time add up to more than turns could (``OVERLAP_MARGIN_PCT``), or if a chain
    of samples before it is too long for a change of turns. Missing data means unknown, never True and never zero. With
    a chain alone, turns shorter than about 1.5 s cannot be distinguished from concurrent work. Steps that took less
    than ``SHORTEST_SEEN_S`` together are unknown, not False.
    """
    if nproc < 2:
        applies = f"nproc_per_node={nproc}: H6 does not apply to a single worker"
        return None, f"{applies}; {_observed_work(samples, heartbeats, launcher_tree, threshold_pct)}"
    moments = judge_moments(samples, heartbeats, launcher_tree, nproc, threshold_pct)
    if not moments:
        return None, "unknown: no sample of a GPU was taken while the chunk ran"
    ranks = _named_ranks(heartbeats, launcher_tree, nproc)
    seen = {uuid for moment in moments for uuid in moment.uuids}
    devices = {rank.device for rank in ranks.values()}
    whole = {uuid for uuid in seen if not uuid.startswith(MIG_PREFIX)}
    slices = sorted(uuid for uuid in (devices if len(whole) >= nproc else seen | devices) if uuid not in whole)
    if slices and all(uuid.startswith(MIG_PREFIX) for uuid in slices):
        return None, f"unknown: {_list(slices)} are MIG slices, not GPUs; NVML reports no utilisation of a slice"
    named = len(ranks) == nproc
    if named and len(devices) < nproc:
        return False, f"the ranks share GPUs: {_list(f'rank {r} on {one.device}' for r, one in sorted(ranks.items()))}"
    if devices - seen:
        unlisted, listed = _list(sorted(devices - seen)), _list(sorted(seen))
        return None, f"unknown: heartbeats name {unlisted}, but NVML lists {listed} only"
    ok, reason = _verdict(moments, nproc, required_samples, named=named, ranks=len(ranks))
    trained_s = _seconds_of_steps(ranks.values())
    if named and ok is False and trained_s < SHORTEST_SEEN_S:
        return None, f"unknown: its steps took {trained_s:.1f} s, too short to be sampled ({reason})"
    return ok, reason


def judge_cpu_workers(heartbeats: Sequence[Beat], nproc: int) -> Judgement:
    """Judge a machine without GPUs: whether every rank advanced its step and used CPU time at the same time."""
    ranks = beats_by_rank(heartbeats)
    missing = [rank for rank in range(nproc) if len(ranks.get(rank, ())) < 2]
    if missing:
        return None, f"unknown: fewer than 2 heartbeats of rank {_list(map(str, missing))} of {nproc}"
    if len({ranks[rank][-1].pid for rank in range(nproc)}) < nproc:
        return None, "unknown: heartbeats of different ranks carry one PID"
    spans = {rank: working_spans(ranks[rank], with_cpu=True) for rank in range(nproc)}
    idle = [rank for rank in range(nproc) if not spans[rank]]
    if idle:
        return False, f"rank {_list(map(str, idle))} of {nproc} never advanced a step with CPU time"
    shared = spans[0]
    for rank in range(1, nproc):
        shared = shared_spans(shared, spans[rank])
    together_s = sum(end - begin for begin, end in shared)
    if together_s <= 0:
        return False, f"the {nproc} workers worked one after the other, never at the same time"
    return True, f"{nproc} CPU workers advanced together for {together_s:.1f} s"


@dataclass(frozen=True)
class Moment:
    """One judged sample. ``together``: at least ``nproc`` GPUs did work of as many of our processes.

    ``work`` holds the GPUs that heartbeats name (all GPUs if they name none); ``fine``: closely spaced heartbeats
    confirm the moment; ``overlap``: the processes' shares of GPU time add up to more than turns could.
    """

    time: float
    together: bool | None
    fine: bool
    overlap: bool
    present: bool
    work: Mapping[str, Work]
    uuids: frozenset[str]


def judge_moments(
    samples: Sequence[DeviceSample],
    heartbeats: Sequence[Beat],
    launcher_tree: Collection[int],
    nproc: int,
    threshold_pct: float,
) -> list[Moment]:
    """Judge every sample of the running chunk, in time order."""
    running = sorted((one for one in samples if not one.baseline and one.gpus), key=lambda one: one.monotonic)
    ranks = _named_ranks(heartbeats, launcher_tree, nproc)
    attribution = Attribution(
        tree=frozenset(launcher_tree),
        threshold_pct=threshold_pct,
        baseline_gib=baseline_memory(samples),
        rank_on={rank.device: rank for rank in ranks.values()} if len(ranks) == nproc else {},
    )
    return [_moment(sample, attribution, nproc) for sample in running]


def _observed_work(
    samples: Sequence[DeviceSample], heartbeats: Sequence[Beat], tree: Collection[int], threshold_pct: float
) -> str:
    """Describe the evidence for a single worker (L3)."""
    moments = judge_moments(samples, heartbeats, tree, 1, threshold_pct)
    if not moments:
        return "no sample of a GPU was taken while the chunk ran"
    unclear = sum(moment.together is None for moment in moments)
    return f"of {len(moments)} samples its work was seen on {_shares(moments)}, {unclear} are unclear"


def _named_ranks(heartbeats: Sequence[Beat], tree: Collection[int], nproc: int) -> dict[int, Rank]:
    """Return the ranks whose heartbeats come from a process of this launcher and name a GPU."""
    ranks = {rank: Rank.of(beats) for rank, beats in beats_by_rank(heartbeats).items() if rank < nproc}
    return {rank: one for rank, one in ranks.items() if one.pid in tree and one.device.startswith(("GPU-", MIG_PREFIX))}


def _seconds_of_steps(ranks: Iterable[Rank]) -> float:
    """Return the seconds from the first step that any rank made to the last one."""
    spans = [span for rank in ranks for span in rank.spans]
    return max(end for _, end in spans) - min(begin for begin, _ in spans) if spans else 0.0


def _moment(sample: DeviceSample, attribution: Attribution, nproc: int) -> Moment:
    by_rank = attribution.rank_on
    work = {gpu.uuid: attribution.work_on(gpu, sample) for gpu in sample.gpus if not by_rank or gpu.uuid in by_rank}
    possible = sum(one.ours is not False for one in work.values())
    together: bool | None = None
    if _distinct_workers([one.pids for one in work.values() if one.ours]) >= nproc:
        together = True
    elif len(work) < len(by_rank):  # a GPU that a rank names is not in this sample
        together = False if any(one.ours is False for one in work.values()) else None
    elif possible < nproc or all(one.ours is not None for one in work.values()):
        together = False
    return Moment(
        time=sample.monotonic,
        together=together,
        fine=bool(by_rank) and all(rank.is_fine_at(sample.monotonic) for rank in by_rank.values()),
        overlap=bool(together) and _shares_overlap([one.percent for one in work.values()], nproc),
        present=attribution.present(sample),
        work=work,
        uuids=frozenset(gpu.uuid for gpu in sample.gpus),
    )


def _shares_overlap(percents: Sequence[float], nproc: int) -> bool:
    """Whether ``nproc`` processes, each on its own GPU, must have computed at the same time (pigeonhole principle)."""
    return sum(sorted(percents, reverse=True)[:nproc]) > 100.0 * (nproc - 1) + OVERLAP_MARGIN_PCT


def _verdict(moments: Sequence[Moment], nproc: int, required: int, *, named: bool, ranks: int) -> Judgement:
    together = [moment for moment in moments if moment.together]
    counted, long_enough = _not_explained_by_turns(together)
    if len(counted) >= required and long_enough:
        working = sorted({uuid for moment in counted for uuid, one in moment.work.items() if one.ours})
        return True, (
            f"{nproc} GPUs ({_list(working)}) busy together in {len(counted)} of {len(moments)} samples "
            f"({_proofs(counted, named)})"
        )
    shown = [moment for moment in moments if moment.present]
    not_together = sum(moment.together is False for moment in shown)
    unclear = sum(moment.together is None for moment in shown)
    # If heartbeats show when all ranks stepped, only samples at those times can contradict concurrent work.
    stepping = sum(moment.fine and moment.together is False for moment in moments) if named else not_together
    if len(together) >= required and len(together) > stepping:
        needed_s = AVERAGING_S if counted else MIN_CHAIN_S
        return None, (
            f"unknown: busy together in {len(together)} samples, but not for {needed_s:g} s "
            "without a break, so that work one after the other is not excluded"
            + ("" if counted else " (no closely spaced heartbeats place the samples)")
        )
    shares = _shares(moments)
    if not_together >= required and not_together > unclear:
        return False, (
            f"busy together in {len(counted)} samples where {required} over more than {AVERAGING_S:g} s are needed; of "
            f"{len(moments)} taken, this launcher's work was seen on {shares}"
        )
    of_ranks = "every rank" if named else f"{ranks} of {nproc} ranks"
    unclear = sum(moment.together is None for moment in moments)
    return None, (
        f"unknown: {len(counted)} of {required} needed samples show the workers at the same time, and {unclear} of "
        f"{len(moments)} do not show whose work the GPUs did (own work seen on {shares}; heartbeats name the GPU of "
        f"{of_ranks})"
    )


def _not_explained_by_turns(together: Sequence[Moment]) -> tuple[list[Moment], bool]:
    """Return the moments that turns cannot explain, and whether they span more than one averaging period.

    Missing samples can only break a chain, never join two.
    """
    counted: list[Moment] = []
    in_chain = False
    begin = before = float("-inf")
    for moment in together:
        if moment.time - before > CHAIN_GAP_S:
            begin = moment.time
        before = moment.time
        long = moment.time - begin >= MIN_CHAIN_S
        in_chain = in_chain or long
        if moment.fine or moment.overlap or long:
            counted.append(moment)
    return counted, in_chain or (bool(counted) and counted[-1].time - counted[0].time >= AVERAGING_S)


def _distinct_workers(choices: Sequence[frozenset[int]]) -> int:
    """Return on how many GPUs a distinct process can have worked (bipartite matching)."""
    taken: dict[int, int] = {}

    def place(gpu: int, tried: set[int]) -> bool:
        for pid in choices[gpu] - tried:
            tried.add(pid)
            if pid not in taken or place(taken[pid], tried):
                taken[pid] = gpu
                return True
        return False

    return sum(place(gpu, set()) for gpu in range(len(choices)))


def _proofs(moments: Sequence[Moment], named: bool) -> str:
    found = {one.proof for moment in moments for one in moment.work.values() if one.ours}
    overlaps = sum(one.overlap for one in moments)
    return (
        f"by {_list(proof.value for proof in Proof if proof in found)}"
        + ("; every rank's step grew" if named else "")
        + (f"; in {overlaps} their shares of GPU time add up to more than turns could" if overlaps else "")
    )


def _shares(moments: Sequence[Moment]) -> str:
    """Return for each GPU in how many samples this launcher's work was seen on it."""
    gpus = sorted({uuid for moment in moments for uuid in moment.work})
    return _list(f"{uuid} in {sum(m.work[uuid].ours is True for m in moments if uuid in m.work)}" for uuid in gpus)


def _list(items: Iterable[str]) -> str:
    return ", ".join(items)
