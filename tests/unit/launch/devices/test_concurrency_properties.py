"""Properties of the H6 decision: missing data never helps.

pytest tests/unit/launch/devices/test_concurrency_properties.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.process_evidence import FOREIGN, GPU0, GPU1, TREE, WORKER0, WORKER1, beats, gpu, sample_at
from tinyworlds_gate.launch.devices.concurrency import judge_dual_gpu
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.run.heartbeat import Beat

FIELDS = ("util_pct", "memory_used_gib", "processes", "activity", "activity_told")
PIDS = st.sampled_from([WORKER0, WORKER1, FOREIGN, 31337, 31338])
HEARTBEATS = st.sampled_from(
    [
        [],
        [*beats(0, GPU0), *beats(1, GPU1)],
        [*beats(0, GPU0), *beats(1, GPU1, stuck_at=3)],
        [*beats(0, GPU0), *beats(1, GPU1, every_s=2.5)],
        beats(0, GPU0),
    ]
)


GOOD = [
    (gpu(GPU0, 90, [WORKER0]), gpu(GPU1, 80, [WORKER1])),
    (gpu(GPU0, 90, [WORKER0], supported=False), gpu(GPU1, 80, [WORKER1], supported=False)),
    (gpu(GPU0, 90, [31337], 4.0), gpu(GPU1, 80, [31338], 4.0)),
    (gpu(GPU0, 90, [31337], 4.0), gpu(GPU1, 80, [WORKER1], 4.0, active=[31338])),
    (gpu(GPU0, 90, [WORKER0], active=[31337]), gpu(GPU1, 80, [WORKER1], active=[31338])),
]


@st.composite
def sights(draw: st.DrawFn, uuid: str) -> GpuSample:
    supported = draw(st.sampled_from([True, True, False, None]))
    memory: st.SearchStrategy[float | None] = st.just(1.0)
    return GpuSample(
        uuid=uuid,
        util_pct=draw(st.sampled_from([0.0, 80.0, 80.0, None])),
        memory_used_gib=draw(st.sampled_from([0.5, 4.0, 4.0, None])),
        processes=draw(st.none() | st.dictionaries(PIDS, memory, max_size=3)),
        activity=draw(st.dictionaries(PIDS, st.sampled_from([0.5, 70.0]), max_size=3)) if supported else None,
        activity_told=supported,
    )


@st.composite
def runs(draw: st.DrawFn) -> list[DeviceSample]:
    """Sequences of a few different samples as in a run: stretches, pauses, changes; good samples often."""
    idle = [GpuSample(uuid, 0.0, 0.5, {}, {}, True) for uuid in (GPU0, GPU1)]
    kinds = draw(st.lists(st.tuples(sights(GPU0), sights(GPU1)) | st.sampled_from(GOOD), min_size=1, max_size=3))
    order = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(1, 16)), min_size=1, max_size=4))
    gaps = st.sampled_from([0.2, 0.2, 0.2, 0.6, 1.0])
    found, moment = [sample_at(1.0, *idle, baseline=True)], 9.5
    for kind, count in order:
        step = draw(gaps)
        for _ in range(count):
            moment += step
            found.append(sample_at(moment, *kind))
    return found


def verdict(samples: Sequence[DeviceSample], heartbeats: list[Beat]) -> bool | None:
    return judge_dual_gpu(samples, heartbeats, TREE, 2, 1.0, 2)[0]


@pytest.mark.requirement("H6", "L3")
@given(run=runs(), heartbeats=HEARTBEATS, data=st.data())
def test_missing_samples_never_make_a_pass(
    run: list[DeviceSample], heartbeats: list[Beat], data: st.DataObject
) -> None:
    kept = [sample for sample in run if data.draw(st.booleans())]
    if verdict(kept, heartbeats) is True:
        assert verdict(run, heartbeats) is True


@pytest.mark.requirement("H6", "L3")
@given(run=runs(), heartbeats=HEARTBEATS, data=st.data())
def test_a_missing_field_never_makes_a_pass(
    run: list[DeviceSample], heartbeats: list[Beat], data: st.DataObject
) -> None:
    holes = st.lists(st.sampled_from(FIELDS), max_size=2)

    def torn_gpu(whole: GpuSample) -> GpuSample:
        missing: dict[str, Any] = dict.fromkeys(data.draw(holes))
        return replace(whole, **missing)

    torn = [replace(sample, gpus=tuple(torn_gpu(one) for one in sample.gpus)) for sample in run]
    if verdict(torn, heartbeats) is True:
        assert verdict(run, heartbeats) is True


@pytest.mark.requirement("H6", "L3")
@given(run=runs(), heartbeats=HEARTBEATS)
def test_without_own_processes_or_heartbeats_there_is_never_a_pass(
    run: list[DeviceSample], heartbeats: list[Beat]
) -> None:
    strangers = {WORKER0: 901, WORKER1: 902}

    def renamed(pids: dict[int, float] | None) -> dict[int, float] | None:
        return None if pids is None else {strangers.get(pid, pid): value for pid, value in pids.items()}

    foreign = [replace(s, gpus=tuple(replace(one, activity=renamed(one.activity)) for one in s.gpus)) for s in run]
    assert verdict(foreign, []) is not True
