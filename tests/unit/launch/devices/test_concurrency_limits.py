"""The limits of the decision on concurrent work, over made-up moments (whole samples: test_concurrency.py).

pytest tests/unit/launch/devices/test_concurrency_limits.py
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from tests.helpers.process_evidence import GPU0, GPU1, TREE, WORKER0, WORKER1, beats, gpu, repeated
from tinyworlds_gate.launch.devices import concurrency
from tinyworlds_gate.launch.devices.attribution import Proof, Work
from tinyworlds_gate.launch.devices.concurrency import Judgement, Moment, judge_cpu_workers, judge_dual_gpu

OURS = Work(True, Proof.BY_PROCESS, frozenset({WORKER0}), 90.0)
OTHERS = Work(False)


def moment(
    time: float, together: bool | None = True, *, fine: bool = False, overlap: bool = False, present: bool = True
) -> Moment:
    work = {GPU0: OURS, GPU1: OURS if together else OTHERS}
    return Moment(time, together, fine, overlap, present, work, frozenset({GPU0, GPU1}))


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("percents", "nproc", "expected"),
    [
        ([100.0, 20.0], 2, False),
        ([100.0, 20.1], 2, True),
        ([60.0, 60.0, 60.0], 2, False),
        ([60.0, 61.0, 0.0], 2, True),
        ([80.0, 70.0, 70.0], 3, False),
        ([80.0, 70.0, 70.1], 3, True),
    ],
)
def test_shares_overlap_above_those_of_turns(percents: list[float], nproc: int, expected: bool) -> None:
    assert concurrency._shares_overlap(percents, nproc) is expected


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("moments", "counted", "long_enough"),
    [
        ([], 0, False),
        ([moment(at) for at in (0.0, 0.75, 1.5, 2.25)], 0, False),
        ([moment(at) for at in (0.0, 0.75, 1.5, 2.25, 2.5, 2.75)], 2, True),
        ([moment(at) for at in (0.0, 0.75, 1.51, 2.25, 2.5, 2.75)], 0, False),
        ([moment(0.0, fine=True), moment(1.0, fine=True)], 2, True),
        ([moment(0.0, overlap=True), moment(0.99, fine=True)], 2, False),
        ([moment(0.0, fine=True), moment(5.0)], 1, False),
        ([*(moment(at / 2) for at in range(6)), moment(9.0)], 1, True),
    ],
)
def test_turns_do_not_explain_a_long_chain_or_confirmed_moments(
    moments: Sequence[Moment], counted: int, long_enough: bool
) -> None:
    found, enough = concurrency._not_explained_by_turns(moments)
    assert (len(found), enough) == (counted, long_enough)


def apart(count: int, **more: bool) -> list[Moment]:
    return [moment(20.0 + at, together=False, **more) for at in range(count)]


def unclear(count: int, **more: bool) -> list[Moment]:
    return [moment(40.0 + at, together=None, **more) for at in range(count)]


FINE = [moment(0.0, fine=True), moment(1.0, fine=True)]
SHORT = [moment(0.0, fine=True), moment(0.5, fine=True)]
LOOSE = [moment(0.0), moment(0.5)]


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("moments", "required", "named", "ok", "said"),
    [
        (FINE, 2, True, True, "2 GPUs (GPU-0000, GPU-1111) busy together in 2 of 2 samples"),
        ([*FINE, *apart(5)], 2, True, True, "in 2 of 7 samples"),
        (FINE, 3, True, None, "unknown: 2 of 3 needed samples show the workers at the same time, and 0 of 2"),
        (SHORT, 2, True, None, "busy together in 2 samples, but not for 1 s without a break"),
        (LOOSE, 2, True, None, "but not for 2.5 s without a break"),
        (LOOSE, 2, True, None, "(no closely spaced heartbeats place the samples)"),
        ([*SHORT, *apart(2, fine=True)], 2, True, False, "busy together in 2 samples where 2 over more than 1 s are"),
        ([*SHORT, *apart(1, fine=True)], 2, True, None, "but not for 1 s"),
        ([*SHORT, *apart(2)], 2, True, None, "but not for 1 s"),
        ([*SHORT, *apart(2)], 2, False, False, "of 4 taken, this launcher's work was seen on"),
        ([*apart(2), *unclear(1)], 2, True, False, "busy together in 0 samples"),
        ([*apart(2), *unclear(2)], 2, True, None, "unknown: 0 of 2 needed samples"),
        ([*apart(2), *unclear(2, present=False)], 2, True, False, "busy together in 0 samples"),
        (apart(1), 2, True, None, "unknown: 0 of 2 needed samples"),
        (apart(2, present=False), 2, True, None, "heartbeats name the GPU of every rank"),
        (unclear(3), 2, False, None, "and 3 of 3 do not show whose work the GPUs did"),
        (unclear(3), 2, False, None, "heartbeats name the GPU of 1 of 2 ranks"),
    ],
)
def test_the_verdict_follows_the_moments_that_count(
    moments: list[Moment], required: int, named: bool, ok: bool | None, said: str
) -> None:
    found, reason = concurrency._verdict(moments, 2, required, named=named, ranks=1)
    assert found is ok
    assert said in reason


@pytest.mark.parametrize(
    ("choices", "workers"),
    [([], 0), ([{1}, {1}], 1), ([{1, 2}, {1}], 2), ([{1}, {1, 2}, {2, 3}], 3), ([{1, 2}, {1, 2}, {1, 2}], 2)],
)
def test_a_process_counts_on_one_gpu_only(choices: list[set[int]], workers: int) -> None:
    assert concurrency._distinct_workers([frozenset(one) for one in choices]) == workers


@pytest.mark.requirement("L3")
def test_cpu_workers_must_step_with_cpu_time_at_the_same_time() -> None:
    first, second = beats(0, end=11.0), beats(1, end=10.0)
    assert judge_cpu_workers([*first, *second], 2) == (True, "2 CPU workers advanced together for 1.0 s")
    later = beats(1, begin=11.0, end=13.0)
    assert judge_cpu_workers([*first, *later], 2)[0] is False
    assert judge_cpu_workers([*first, *second[:1]], 2) == (None, "unknown: fewer than 2 heartbeats of rank 1 of 2")
    assert judge_cpu_workers([*first, *second[:2]], 2)[0] is True
    idle = beats(1, end=11.0, cpu_per_s=0.0)
    assert judge_cpu_workers([*first, *idle], 2) == (False, "rank 1 of 2 never advanced a step with CPU time")
    same = beats(1, end=11.0, pid=WORKER0)
    assert judge_cpu_workers([*first, *same], 2) == (None, "unknown: heartbeats of different ranks carry one PID")


@pytest.mark.requirement("H6")
def test_heartbeats_that_name_no_gpu_or_come_from_elsewhere_count_as_none() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1]))

    def judged(*devices: str, tree: Collection[int] = TREE) -> Judgement:
        heartbeats = [beat for rank, device in enumerate(devices) for beat in beats(rank, device)]
        return judge_dual_gpu(samples, heartbeats, tree, 2, 1.0, 2)

    for devices in (("cpu", "cpu"), ("cuda:0", "cuda:1"), ("cpu", GPU1)):
        assert judged(*devices) == judged()
    assert judged(GPU0, GPU1) != judged()
    assert judged(GPU0, GPU1, tree={WORKER0}) == judged(tree={WORKER0})
    assert sorted(concurrency._named_ranks([*beats(0, "MIG-1"), *beats(1, GPU1)], TREE, 1)) == [0]
