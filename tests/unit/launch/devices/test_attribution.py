"""A rank from its heartbeats, and the GPU memory before a launch.

test_concurrency.py tests the attribution of work as part of the H6 decision.

pytest tests/unit/launch/devices/test_attribution.py
"""

from __future__ import annotations

import pytest

from tests.helpers.process_evidence import GPU0, GPU1, WORKER0, beats, gpu, sample_at
from tinyworlds_gate.launch.devices.attribution import Rank, baseline_memory


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
