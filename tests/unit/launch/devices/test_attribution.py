"""A rank from its heartbeats, and the GPU memory before a launch.

test_concurrency.py tests the attribution of work as part of the H6 decision.

pytest tests/unit/launch/devices/test_attribution.py
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.process_evidence import FOREIGN, GPU0, GPU1, TREE, WORKER0, WORKER1, beats, gpu, sample_at
from tinyworlds_gate.launch.devices.attribution import Attribution, Proof, Rank, Work, baseline_memory
from tinyworlds_gate.launch.devices.nvml import GpuSample


@pytest.mark.requirement("L3", "H6")
def test_a_rank_has_the_process_and_device_of_its_newest_heartbeat() -> None:
    assert Rank.of(beats(0, GPU0, end=9.0)) == Rank(WORKER0, GPU0, ())
    moved = [*beats(0, "cpu", end=9.5, pid=7), *beats(0, GPU1, begin=10.0, end=10.5)]
    assert (Rank.of(moved).pid, Rank.of(moved).device) == (WORKER0, GPU1)


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("every_s", "moment", "fine"),
    [(0.5, 9.2, True), (0.5, 8.9, False), (0.5, 20.0, False), (1.5, 9.2, True), (2.0, 9.2, False)],
)
def test_only_a_span_too_short_for_anothers_turn_is_fine(every_s: float, moment: float, fine: bool) -> None:
    assert Rank.of(beats(0, GPU0, every_s=every_s)).is_fine_at(moment) is fine


@pytest.mark.requirement("H6")
def test_the_baseline_is_the_largest_memory_before_the_launch() -> None:
    before = [
        sample_at(1.0, gpu(GPU0, 0, memory_gib=0.5), gpu(GPU1, 0, memory_gib=None), baseline=True),
        sample_at(2.0, gpu(GPU0, 0, memory_gib=0.25), baseline=True),
    ]
    assert baseline_memory([*before, sample_at(3.0, gpu(GPU0, 0, memory_gib=9.0))]) == {GPU0: 0.5}


RANK = Rank(WORKER0, GPU0, ((9.0, 10.0), (10.0, 11.0)))
BY_PROCESS, BY_CONTEXT, BY_MEMORY = Proof.BY_PROCESS, Proof.BY_CONTEXT, Proof.BY_MEMORY


def attribution(ranked: bool = True, baseline: float | None = 1.0) -> Attribution:
    known = {} if baseline is None else {GPU0: baseline}
    return Attribution(frozenset(TREE), 20.0, known, {GPU0: RANK} if ranked else {})


def ours(proof: Proof, percent: float = 0.0) -> Work:
    return Work(True, proof, frozenset({WORKER0}), percent)


@pytest.mark.requirement("L3", "H6")
@pytest.mark.parametrize(
    ("one", "others", "ranked", "expected"),
    [
        (gpu(GPU0, 20.0, [WORKER0]), (), True, ours(BY_PROCESS, 20.0)),
        (gpu(GPU0, 19.9, [WORKER0]), (), True, Work(False)),
        (gpu(GPU0, None, [WORKER0], active=[WORKER0]), (), True, Work(None)),
        (gpu(GPU0, 90.0, [WORKER1]), (), True, Work(False)),
        (gpu(GPU0, 90.0, [WORKER1]), (), False, Work(True, BY_PROCESS, frozenset({WORKER1}), 90.0)),
        (gpu(GPU0, 90.0, [FOREIGN], 1.06), (), True, ours(BY_MEMORY)),
        (gpu(GPU0, 90.0, [FOREIGN], 1.05), (), True, Work(False)),
        (gpu(GPU0, 90.0, [FOREIGN], None), (), True, Work(None)),
        (gpu(GPU0, 90.0, [FOREIGN], 1.06), (), False, Work(None)),
        (gpu(GPU0, 90.0, [WORKER0], active=[FOREIGN]), (), True, ours(BY_CONTEXT)),
        (gpu(GPU0, 90.0, [WORKER0, FOREIGN], active=[FOREIGN]), (), True, Work(False)),
        (gpu(GPU0, 90.0, [FOREIGN]), (gpu(GPU1, 90.0, [WORKER1]),), True, Work(False)),
        (gpu(GPU0, 90.0, [FOREIGN]), (gpu(GPU1, 0.0, [WORKER1]),), True, Work(False)),
        (gpu(GPU0, 90.0, [], active=[FOREIGN]), (gpu(GPU1, 0.0, [WORKER1]),), True, Work(None)),
        (gpu(GPU0, 90.0, [], active=[FOREIGN]), (gpu(GPU1, 0.0, [WORKER1]),), False, Work(False)),
        (gpu(GPU0, 90.0, [WORKER0], active=[FOREIGN]), (gpu(GPU1, 0.0, None),), True, Work(None)),
        (gpu(GPU0, 90.0, [WORKER0], active=[FOREIGN]), (gpu(GPU1, 0.0, supported=False),), True, ours(BY_CONTEXT)),
        (gpu(GPU0, 90.0, [WORKER0], active=[]), (), True, Work(None)),
        (gpu(GPU0, 90.0, [WORKER0], supported=False), (), True, ours(BY_CONTEXT)),
        (gpu(GPU0, 90.0, [WORKER0], supported=None), (), True, Work(None)),
        (gpu(GPU0, 90.0, None, 2.0, supported=False), (), True, Work(None)),
        (gpu(GPU0, 90.0, [WORKER0], supported=False), (gpu(GPU1, 0.0, supported=None),), True, Work(None)),
    ],
    ids=str,
)
def test_work_is_ours_by_positive_evidence_only(
    one: GpuSample, others: tuple[GpuSample, ...], ranked: bool, expected: Work
) -> None:
    assert attribution(ranked).work_on(one, sample_at(10.5, one, *others)) == expected


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(("moment", "known"), [(8.9, False), (9.0, True), (10.99, True), (11.0, False)])
def test_a_rank_whose_step_does_not_grow_has_not_worked(moment: float, known: bool) -> None:
    one = gpu(GPU0, 90.0, [WORKER0])
    assert attribution().work_on(one, sample_at(moment, one)).ours is known
    assert RANK.is_fine_at(moment) is known
    assert not replace(RANK, spans=((9.0, 10.51),)).is_fine_at(9.5)
    assert replace(RANK, spans=((9.0, 10.5),)).is_fine_at(9.5)


@pytest.mark.parametrize(
    ("one", "baseline", "present"),
    [
        (gpu(GPU0, 90.0, [WORKER0], 1.0, active=[FOREIGN]), 1.0, True),
        (gpu(GPU0, 90.0, [], 1.0, active=[WORKER0]), 1.0, True),
        (gpu(GPU0, 90.0, [FOREIGN], 1.06), 1.0, True),
        (gpu(GPU0, 90.0, [FOREIGN], 1.05), 1.0, False),
        (gpu(GPU0, 90.0, [FOREIGN], 9.0), None, False),
        (gpu(GPU0, 90.0, [FOREIGN], None), 1.0, False),
    ],
    ids=str,
)
def test_a_worker_is_seen_by_its_context_its_work_or_memory(
    one: GpuSample, baseline: float | None, present: bool
) -> None:
    assert attribution(baseline=baseline).present(sample_at(10.5, one)) is present
