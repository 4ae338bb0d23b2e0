"""The H6 decision in tables: what must pass, what must not, and what stays unknown.

pytest tests/unit/launch/devices/test_concurrency.py
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.helpers.process_evidence import (
    FOREIGN,
    GPU0,
    GPU1,
    LAUNCHER,
    TREE,
    WORKER0,
    WORKER1,
    beats,
    gpu,
    repeated,
    sample_at,
)
from tinyworlds_gate.launch.devices.concurrency import Judgement, judge_cpu_workers, judge_dual_gpu
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.run.heartbeat import Beat

BOTH_BEAT = [*beats(0, GPU0), *beats(1, GPU1)]


def judge(
    samples: list[DeviceSample], heartbeats: list[Beat] | None = None, *, nproc: int = 2, required: int = 2
) -> Judgement:
    return judge_dual_gpu(samples, heartbeats or [], TREE, nproc, 1.0, required)


@pytest.mark.requirement("H6", "L3")
def test_both_gpus_busy_with_own_workers_at_the_same_time_pass() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1]))
    assert judge(samples)[0] is True
    ok, reason = judge(samples, BOTH_BEAT)
    assert ok is True
    assert GPU0 in reason
    assert GPU1 in reason
    assert "20 of 20 samples" in reason


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(("seconds", "expected"), [(1.0, None), (2.5, None), (3.5, False)])
def test_steps_that_took_less_time_than_the_averages_are_unknown(seconds: float, expected: bool | None) -> None:
    """The samples before and after them show idle GPUs, as of any launch."""
    heartbeats = [beat for rank, uuid in enumerate((GPU0, GPU1)) for beat in beats(rank, uuid, end=9.0 + seconds)]
    ok, reason = judge(repeated(gpu(GPU0, 0, [WORKER0]), gpu(GPU1, 0, [WORKER1]), count=100), heartbeats)
    assert ok is expected
    assert (f"its steps took {seconds:.1f} s, too short to be sampled" in reason) is (expected is None)
    longer = [*heartbeats, *beats(1, GPU1, end=14.0)]
    assert judge(repeated(gpu(GPU0, 0, [WORKER0]), gpu(GPU1, 0, [WORKER1]), count=100), longer)[0] is False


@pytest.mark.requirement("H6")
@pytest.mark.parametrize("heartbeats", [[], [*beats(0, GPU0), *beats(1, GPU0)]], ids=["no heartbeats", "heartbeats"])
def test_a_foreign_process_on_gpu_1_does_not_count_as_a_rank(heartbeats: list[Beat]) -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0, WORKER1]), gpu(GPU1, 99, [FOREIGN]))
    assert judge(samples, heartbeats)[0] is False


@pytest.mark.requirement("H6")
@pytest.mark.parametrize("heartbeats", [[], BOTH_BEAT], ids=["no heartbeats", "heartbeats"])
def test_an_idle_context_on_gpu_1_is_no_work(heartbeats: list[Beat]) -> None:
    ok, reason = judge(repeated(gpu(GPU0, 90, [WORKER0, WORKER1]), gpu(GPU1, 0, [WORKER1])), heartbeats)
    assert ok is False
    assert f"{GPU1} in 0" in reason


@pytest.mark.requirement("H6")
def test_a_rank_that_sleeps_beside_a_busy_gpu_does_not_pass() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [WORKER1, FOREIGN]))
    assert judge(samples, [*beats(0, GPU0), *beats(1, GPU1, stuck_at=0)])[0] is False


@pytest.mark.requirement("H6")
def test_a_rank_whose_heartbeats_stopped_does_not_pass() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [WORKER1]), begin=12.0)
    assert judge(samples, [*beats(0, GPU0), *beats(1, GPU1, end=10.0)])[0] is False


@pytest.mark.requirement("H6")
def test_activity_one_after_the_other_does_not_pass() -> None:
    first = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 0, [WORKER1]), begin=10, count=20)
    seam = repeated(gpu(GPU0, 40, [WORKER0]), gpu(GPU1, 50, [WORKER1]), begin=14, count=5)
    second = repeated(gpu(GPU0, 0, [WORKER0]), gpu(GPU1, 90, [WORKER1]), begin=15, count=20)
    assert judge([*first, *seam, *second])[0] is False
    one_by_one = [*beats(0, GPU0, end=14.4), *beats(1, GPU1, begin=14.5, end=20)]
    assert judge([*first, *seam, *second], one_by_one)[0] is False


@pytest.mark.requirement("H6")
def test_fewer_moments_than_required_do_not_pass() -> None:
    together = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1]), count=2)
    alone = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 0, [WORKER1]), begin=11, count=10)
    ok, reason = judge([*together, *alone], BOTH_BEAT, required=3)
    assert ok is False
    assert "in 2 samples where 3 over more than 1 s are needed" in reason


@pytest.mark.requirement("H6")
def test_one_averaging_period_of_the_utilisation_is_not_concurrent_work_though_steps_grow() -> None:
    start = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1]), count=4)
    idle = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 0, [WORKER1]), begin=11, count=20)
    assert judge([*start, *idle], BOTH_BEAT)[0] is False


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(("count", "expected"), [(4, None), (7, True)])
def test_a_short_chunk_is_unknown_until_it_is_longer_than_an_averaging_period(
    count: int, expected: bool | None
) -> None:
    before = repeated(gpu(GPU0, 0, [WORKER0]), gpu(GPU1, 0, [WORKER1]), begin=5, count=20)
    together = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1]), begin=10, count=count)
    end = 10 + 0.2 * count
    steps = [*beats(0, GPU0, begin=9.8, end=end, every_s=0.2), *beats(1, GPU1, begin=9.8, end=end, every_s=0.2)]
    assert judge([*before, *together], steps)[0] is expected


@pytest.mark.requirement("H6")
def test_a_container_that_hides_pids_is_judged_by_heartbeats_and_memory() -> None:
    before = sample_at(1, gpu(GPU0, 0, [], 0.5), gpu(GPU1, 0, [], 0.5), baseline=True)
    working = repeated(gpu(GPU0, 90, [31337], 4.0), gpu(GPU1, 90, [31338], 4.0))
    ok, reason = judge([before, *working], BOTH_BEAT)
    assert ok is True
    assert "by heartbeats, utilisation and memory over the baseline" in reason


@pytest.mark.requirement("H6")
def test_hidden_pids_with_no_memory_over_the_baseline_do_not_pass() -> None:
    before = sample_at(1, gpu(GPU0, 0, [], 0.5), gpu(GPU1, 0, [], 4.0), baseline=True)
    working = repeated(gpu(GPU0, 90, [31337], 4.0), gpu(GPU1, 90, [31338], 4.0))
    assert judge([before, *working], BOTH_BEAT)[0] is not True


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("samples", "heartbeats", "reason"),
    [
        ([], BOTH_BEAT, "no sample of a GPU"),
        (repeated(), BOTH_BEAT, "no sample of a GPU"),
        (
            [sample_at(1, gpu(GPU0, 9, [WORKER0]), gpu(GPU1, 9, [WORKER1]), baseline=True)],
            BOTH_BEAT,
            "no sample of a GPU",
        ),
        (repeated(gpu(GPU0, 90, [31337]), gpu(GPU1, 90, [31338])), [], "20 of 20 do not show whose work"),
        (repeated(gpu(GPU0, 90, None), gpu(GPU1, 90, None)), beats(0, GPU0), "heartbeats name the GPU of 1 of 2 ranks"),
        (repeated(gpu(GPU0, None, [WORKER0]), gpu(GPU1, None, [WORKER1])), BOTH_BEAT, "20 of 20 do not show"),
        (repeated(gpu(GPU0, 90, [9], 4.0), gpu(GPU1, 90, [8], None)), BOTH_BEAT, "20 of 20 do not show"),
        (repeated(gpu(GPU0, 90, [WORKER0, WORKER1]), gpu(GPU1, 90, [])), BOTH_BEAT, f"{GPU0} in 20, {GPU1} in 0"),
        (repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [WORKER1]), count=1), BOTH_BEAT, "1 of 2 needed samples"),
        (repeated(gpu(GPU0, 60, [WORKER0]), gpu(GPU1, 60, [WORKER1]), count=9), [], "work one after the other is not"),
        (repeated(gpu(GPU0, 90, [WORKER0])), BOTH_BEAT, f"heartbeats name {GPU1}, but NVML lists {GPU0} only"),
        (
            repeated(gpu("MIG-1", None, [WORKER0], supported=False), gpu("MIG-2", None, [WORKER1], supported=False)),
            [*beats(0, "MIG-1"), *beats(1, "MIG-2")],
            "MIG-1, MIG-2 are MIG slices, not GPUs",
        ),
        (
            repeated(gpu("MIG-1", None, supported=False), gpu("MIG-2", None, supported=False)),
            [],
            "MIG-1, MIG-2 are MIG slices",
        ),
    ],
)
def test_missing_or_contradicting_data_is_unknown_and_says_what_is_missing(
    samples: list[DeviceSample], heartbeats: list[Beat], reason: str
) -> None:
    ok, why = judge(samples, heartbeats)
    assert ok is None
    assert re.search(reason, why), why


def test_one_worker_needs_no_second_gpu() -> None:
    ok, reason = judge(repeated(gpu(GPU0, 90, [WORKER0])), nproc=1)
    assert ok is None
    assert "H6 does not apply" in reason


def test_all_of_more_than_two_gpus_must_work() -> None:
    third = "GPU-2222"
    two_of_three = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1]), gpu(third, 0, [FOREIGN]))
    assert judge(two_of_three, nproc=3)[0] is False


@pytest.mark.requirement("L3")
def test_cpu_workers_that_advance_together_are_evidence() -> None:
    ok, reason = judge_cpu_workers([*beats(0), *beats(1)], 2)
    assert ok is True
    assert "11.0 s" in reason


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (beats(1, stuck_at=0), False),
        (beats(1, cpu_per_s=0.0), False),
        (beats(1, begin=21, end=30), False),
        (beats(1, every_s=11.0), False),
        (beats(1, end=9.0), None),
        ([], None),
        (beats(1, pid=WORKER0), None),
    ],
    ids=["no step", "no CPU time", "one after the other", "a pause", "one beat", "no beat", "one process"],
)
def test_cpu_workers_that_do_not_advance_together_are_no_evidence(second: list[Beat], expected: bool | None) -> None:
    assert judge_cpu_workers([*beats(0), *second], 2)[0] is expected


IDLE_CONTEXT_BESIDE_FOREIGN = gpu(GPU1, 99, [WORKER1, FOREIGN], active=[FOREIGN])


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize(
    ("second", "heartbeats", "expected"),
    [
        (IDLE_CONTEXT_BESIDE_FOREIGN, [], False),
        (IDLE_CONTEXT_BESIDE_FOREIGN, BOTH_BEAT, False),
        (gpu(GPU1, 99, [WORKER1, FOREIGN], supported=False), [], None),
        (gpu(GPU1, 99, [WORKER1], supported=False), [], None),
        (gpu(GPU1, 99, [WORKER1, FOREIGN], supported=None), BOTH_BEAT, None),
        (gpu(GPU1, 99, [WORKER1], active=[31338]), [], False),
        (gpu(GPU1, 99, [WORKER1], active=[]), BOTH_BEAT, None),
    ],
    ids=[
        "reported by process",
        "reported by process, steps grow",
        "unsupported, no heartbeats",
        "unsupported, no other process",
        "the call fails",
        "a process without a context",
        "nobody named",
    ],
)
def test_a_foreign_busy_process_beside_our_idle_context_is_not_our_work(
    second: GpuSample, heartbeats: list[Beat], expected: bool | None
) -> None:
    assert judge(repeated(gpu(GPU0, 90, [WORKER0]), second), heartbeats)[0] is expected


@pytest.mark.requirement("H6")
def test_without_utilisation_by_process_heartbeats_attribute_work_to_contexts() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0], supported=False), gpu(GPU1, 90, [WORKER1], supported=False))
    ok, reason = judge(samples, BOTH_BEAT)
    assert ok is True
    assert "by heartbeats, utilisation and this launcher's contexts" in reason
    assert judge(samples, [*beats(0, GPU0), *beats(1, GPU1, stuck_at=0)])[0] is False
    assert judge(samples)[0] is None


@pytest.mark.requirement("H6")
def test_contexts_under_own_pids_and_utilisation_under_the_hosts_is_judged_by_heartbeats() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0], active=[31337]), gpu(GPU1, 90, [WORKER1], active=[31338]))
    assert judge(samples, BOTH_BEAT)[0] is True
    assert judge(samples)[0] is None


@pytest.mark.requirement("H6")
def test_heartbeats_of_processes_of_another_launcher_do_not_count() -> None:
    before = sample_at(1, gpu(GPU0, 0, [], 0.5), gpu(GPU1, 0, [], 0.5), baseline=True)
    working = repeated(gpu(GPU0, 90, [31337], 4.0), gpu(GPU1, 90, [31338], 4.0))
    stranger = beats(1, GPU1, pid=FOREIGN)
    assert judge([before, *working], [*beats(0, GPU0), *stranger])[0] is None


@pytest.mark.requirement("H6")
def test_one_process_on_both_gpus_is_one_worker() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [WORKER0, WORKER1], active=[WORKER0]))
    assert judge(samples)[0] is False
    assert judge(samples, BOTH_BEAT)[0] is False


def shared_gpu(uuid: str, util: float, **percents: float) -> GpuSample:
    """A GPU with the share of each process by name: ``worker1=0.5``."""
    pids = {"launcher": LAUNCHER, "worker0": WORKER0, "worker1": WORKER1, "foreign": FOREIGN}
    activity = {pids[name]: percent for name, percent in percents.items()}
    return replace(gpu(uuid, util, list(activity)), activity=activity)


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [LAUNCHER, WORKER1], active=[LAUNCHER])),
        (gpu(GPU0, 90, [WORKER0, WORKER1], active=[WORKER1]), gpu(GPU1, 90, [WORKER0, WORKER1], active=[WORKER0])),
    ],
    ids=["the launcher works", "the ranks are swapped"],
)
def test_the_work_of_another_process_of_the_launch_is_not_that_ranks_work(first: GpuSample, second: GpuSample) -> None:
    assert judge(repeated(first, second), BOTH_BEAT)[0] is False
    assert judge(repeated(first, second))[0] is True, "without heartbeats nothing names the process of a GPU"


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize("heartbeats", [[], BOTH_BEAT], ids=["no heartbeats", "heartbeats"])
@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (shared_gpu(GPU1, 90, worker1=0.9, foreign=90), False),
        (shared_gpu(GPU1, 0.9, worker1=90), False),
        (shared_gpu(GPU1, 1.0, worker1=1.0), True),
    ],
    ids=["our share is below", "the GPU is below", "both are at it"],
)
def test_work_counts_from_the_threshold_on(heartbeats: list[Beat], second: GpuSample, expected: bool) -> None:
    """The threshold of these tests is 1 %."""
    assert judge(repeated(gpu(GPU0, 90, [WORKER0]), second), heartbeats)[0] is expected


@pytest.mark.requirement("H6")
def test_a_gpu_without_our_context_is_not_ours_where_our_pids_are_listed_on_another() -> None:
    """Neither its memory over the baseline nor growing steps show whose work it does."""
    before = sample_at(1, gpu(GPU0, 0, [], 0.5), gpu(GPU1, 0, [], 0.5), baseline=True)
    ours, theirs = gpu(GPU0, 90, [WORKER0, WORKER1], 4.0), gpu(GPU1, 90, [FOREIGN], 4.0)
    working = repeated(*(replace(one, activity=None, activity_told=False) for one in (ours, theirs)))
    assert judge([before, *working])[0] is False
    assert judge([before, *working], BOTH_BEAT)[0] is None


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(("used_gib", "expected"), [(4.04, None), (4.06, True)])
def test_hidden_pids_need_memory_over_the_largest_baseline_and_its_margin(
    used_gib: float, expected: bool | None
) -> None:
    before = [
        sample_at(moment, gpu(GPU0, 0, [], 0.5), gpu(GPU1, 0, [], memory), baseline=True)
        for moment, memory in ((1, 4.0), (2, 3.0))
    ]
    working = repeated(gpu(GPU0, 90, [31337], 4.0), gpu(GPU1, 90, [31338], used_gib))
    assert (judge([*before, *working], BOTH_BEAT)[0] is True) is (expected is True)


AVERAGING_S = 1.2


def turns(turn_s: float, *, seam_s: float = 1.0, end: float = 40.0, every_s: float = 0.2) -> list[DeviceSample]:
    """Two workers that take turns, like the real samples (docs/results/devices-two-h100/one-after-the-other.jsonl).

    A GPU's utilisation stays for ``seam_s`` after its work ended; a process's is its share of the last 1.2 s, and the
    entries of the second GPU are 0.2 s older.
    """
    found = []
    for index in range(int((end - 10) / every_s)):
        moment = 10 + index * every_s
        into, second = (moment - 10) % turn_s, int((moment - 10) / turn_s) % 2
        seam = into < seam_s and moment - 10 >= turn_s
        gpu_samples = [gpu(GPU0, 90 if seam or not second else 0, [WORKER0])]
        gpu_samples.append(gpu(GPU1, 90 if seam or second else 0, [WORKER1]))
        shares = [share_in_turns(turn_s, rank, moment - AVERAGING_S, moment - rank * 0.2) for rank in (0, 1)]
        own = [{pid: 100 * share} if share else {} for pid, share in zip((WORKER0, WORKER1), shares, strict=True)]
        found.append(
            sample_at(moment, *(replace(one, activity=two) for one, two in zip(gpu_samples, own, strict=True)))
        )
    return found


def share_in_turns(turn_s: float, rank: int, begin: float, end: float) -> float:
    """Return the share of the time from ``begin`` to ``end`` that was this rank's turn."""
    ticks = [begin + (end - begin) * (at + 0.5) / 60 for at in range(60)]
    return sum(tick >= 10 and int((tick - 10) / turn_s) % 2 == rank for tick in ticks) / 60


def beats_in_turns(turn_s: float, rank: int, device: str, *, step_s: float = 0.2, end: float = 40.0) -> list[Beat]:
    """Heartbeats of a rank that steps in its own turns only."""
    whole = beats(rank, device, begin=10.0, end=end, every_s=step_s)
    return [beat for beat in whole if int((beat.monotonic - 10) / turn_s) % 2 == rank]


@pytest.mark.requirement("H6")
@pytest.mark.parametrize("turn_s", [2.0, 3.0, 5.0, 8.0])
@pytest.mark.parametrize("every_s", [0.2, 5.0])
def test_taking_turns_does_not_pass_however_often(turn_s: float, every_s: float) -> None:
    samples = turns(turn_s, every_s=every_s)
    heartbeats = [*beats_in_turns(turn_s, 0, GPU0), *beats_in_turns(turn_s, 1, GPU1)]
    assert judge(samples)[0] is not True
    assert judge(samples, heartbeats)[0] is not True


@pytest.mark.requirement("H6")
def test_one_slow_step_in_each_turn_does_not_pass() -> None:
    heartbeats = [*beats(0, GPU0, begin=15, end=45, every_s=10.0), *beats(1, GPU1, begin=10, end=40, every_s=10.0)]
    assert judge(turns(5.0), heartbeats)[0] is not True


@pytest.mark.requirement("H6")
def test_long_steps_at_the_same_time_pass() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [WORKER1]), count=40)
    slow = [*beats(0, GPU0, begin=0, end=40, every_s=5.0), *beats(1, GPU1, begin=0, end=40, every_s=5.0)]
    assert judge(samples, slow)[0] is True


@pytest.mark.requirement("L3")
def test_the_evidence_for_a_single_worker_is_described() -> None:
    foreign = gpu(GPU0, 99, [WORKER0, FOREIGN], active=[FOREIGN])
    samples = [*repeated(gpu(GPU0, 90, [WORKER0]), count=3), *repeated(foreign, begin=12, count=5)]
    _, reason = judge(samples, nproc=1)
    assert f"of 8 samples its work was seen on {GPU0} in 3, 0 are unclear" in reason
    hidden = repeated(gpu(GPU0, 90, [31337]), begin=20, count=4)
    _, reason = judge([*samples, *hidden], nproc=1)
    assert f"of 12 samples its work was seen on {GPU0} in 3, 4 are unclear" in reason
    _, reason = judge([], nproc=1)
    assert reason.endswith("does not apply to a single worker; no sample of a GPU was taken while the chunk ran")


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("shares", "expected"), [((61, 60), True), ((60, 60), None), ((99, 1), None), ((99, 0), False)]
)
def test_shares_of_gpu_time_that_turns_cannot_add_up_to_are_evidence_at_any_interval(
    shares: tuple[int, int], expected: bool | None
) -> None:
    samples = repeated(gpu(GPU0, shares[0], [WORKER0]), gpu(GPU1, shares[1], [WORKER1]), count=6, every_s=5.0)
    ok, reason = judge(samples)
    assert ok is expected, reason
    assert ("their shares of GPU time add up to more than turns could" in reason) is bool(ok)


@pytest.mark.requirement("H6")
def test_one_averaging_period_is_not_enough_however_large_the_shares() -> None:
    assert judge(repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 90, [WORKER1]), count=5))[0] is not True


@pytest.mark.requirement("H6")
def test_three_workers_need_more_than_two_fully_used_gpus() -> None:
    third, worker2 = "GPU-2222", LAUNCHER
    for share, expected in ((74, True), (70, None)):
        gpu_samples = [gpu(GPU0, share, [WORKER0]), gpu(GPU1, share, [WORKER1]), gpu(third, share, [worker2])]
        assert judge(repeated(*gpu_samples, count=6, every_s=5.0), nproc=3)[0] is expected
