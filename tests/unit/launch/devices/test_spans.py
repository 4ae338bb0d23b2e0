"""Spans in which a worker's step grew.

pytest tests/unit/launch/devices/test_spans.py
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.process_evidence import beats
from tinyworlds_gate.launch.devices.spans import beats_by_rank, shared_spans, span_at, working_spans

SPANS = [(1.0, 2.0), (2.0, 3.0), (5.0, 6.0)]


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("moment", "span"),
    [
        (0.9, None),
        (1.0, (1.0, 2.0)),
        (1.9, (1.0, 2.0)),
        (2.0, (2.0, 3.0)),
        (3.0, None),
        (4.0, None),
        (5.0, (5.0, 6.0)),
        (6.0, None),
    ],
)
def test_a_span_contains_its_begin_and_not_its_end(moment: float, span: tuple[float, float] | None) -> None:
    assert span_at(SPANS, moment) == span
    assert span_at([], moment) is None


@pytest.mark.requirement("H6")
def test_shared_spans_are_where_both_worked_and_touching_ones_share_nothing() -> None:
    assert shared_spans(SPANS, [(1.5, 2.5), (3.0, 5.0), (5.5, 9.0)]) == [(1.5, 2.0), (2.0, 2.5), (5.5, 6.0)]
    assert shared_spans(SPANS, [(3.0, 5.0)]) == shared_spans([], SPANS) == []
    assert shared_spans(SPANS, SPANS) == SPANS


@pytest.mark.requirement("H6")
def test_a_worker_works_while_its_step_grows_without_a_long_pause() -> None:
    steady = beats(0, end=10.5, cpu_per_s=0.0)
    assert working_spans(steady, with_cpu=False) == [(9.0, 9.5), (9.5, 10.0), (10.0, 10.5)]
    assert working_spans(steady, with_cpu=True) == [], "its step grew without CPU time"
    assert working_spans(beats(0, stuck_at=1, end=10.5), with_cpu=True) == [(9.0, 9.5)]
    assert working_spans(steady[:1], with_cpu=False) == working_spans([], with_cpu=False) == []


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("every_s", "pause_s", "counts"),
    [
        (0.25, 1.5, True),
        (0.25, 1.75, False),
        (1.0, 3.0, True),
        (1.0, 3.25, False),
        (8.0, 10.0, True),
        (8.0, 11.0, False),
    ],
)
def test_a_pause_counts_up_to_three_usual_steps_within_one_and_a_half_and_ten_seconds(
    every_s: float, pause_s: float, counts: bool
) -> None:
    steps = beats(0, begin=0.0, end=6 * every_s, every_s=every_s)
    last = steps[-1]
    late = replace(last, step=last.step + 1, monotonic=last.monotonic + pause_s)
    assert ((last.monotonic, late.monotonic) in working_spans([*steps, late], with_cpu=False)) is counts


@pytest.mark.requirement("H6")
def test_only_the_newest_process_of_a_rank_counts_in_time_order() -> None:
    old, new = beats(0, end=9.5, pid=7), beats(0, begin=12.0, end=12.5)
    reused = [replace(beat, create_time=2.0) for beat in beats(1, begin=13.0, end=13.5)]
    found = beats_by_rank([*reversed(new), *beats(1, end=9.5), *old, *reused])
    assert found == {0: new, 1: reused}
