"""Which frames of a recording are kept, and where a new episode begins.

pytest tests/unit/reference/data/test_video_timeline.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.reference.data.video_timeline import Timeline


def kept(times: list[float], rate: float) -> tuple[list[tuple[int, int]], Timeline]:
    timeline = Timeline(rate)
    return list(timeline.kept_frames((time, index) for index, time in enumerate(times))), timeline


def at(rate: float, count: int, begin: float = 0.0) -> list[float]:
    return [begin + index / rate for index in range(count)]


@pytest.mark.parametrize("begin", [0.0, 1.4, 86_400.0])
@pytest.mark.parametrize(("own", "rate", "every"), [(60, 15, 4), (30, 15, 2), (15, 15, 1), (30, 10, 3), (24, 24, 1)])
def test_a_constant_rate_keeps_every_nth_frame(own: int, rate: int, every: int, begin: float) -> None:
    found, timeline = kept(at(own, 4 * own, begin), rate)
    assert found == [(index, 0) for index in range(0, 4 * own, every)]
    assert (timeline.breaks, timeline.kept) == ([], 4 * rate)


def test_rates_that_do_not_divide_each_other_keep_the_frame_that_is_shown() -> None:
    found, _ = kept(at(25, 100), 15)
    assert [index for index, _ in found] == [int(25 * number / 15 + 1e-9) for number in range(60)]


@pytest.mark.parametrize("own", [10, 5, 2])
def test_a_slower_recording_repeats_its_frames(own: int) -> None:
    found, _ = kept(at(own, 10), 10)
    repeated = [index for index in range(10) for _ in range(10 // own)]
    assert [index for index, _ in found] == repeated[: len(found)]
    assert len(found) == 9 * (10 // own) + 1


def test_after_a_pause_a_new_episode_begins_at_the_same_speed() -> None:
    found, timeline = kept([*at(30, 30), *at(30, 30, 100.0)], 15)
    assert found == [(index, index // 30) for index in range(0, 60, 2)]
    (one,) = timeline.breaks
    assert (round(one.before_s, 2), one.after_s, one.kept) == (0.97, 100.0, 15)
    assert one.sentence() == "a pause from 1.0 s to 100.0 s"


def test_where_the_clock_goes_back_nothing_is_lost() -> None:
    found, timeline = kept([*at(30, 30, 50.0), *at(30, 60)], 15)
    assert found == [(index, int(index >= 30)) for index in range(0, 90, 2)]
    assert [one.sentence() for one in timeline.breaks] == ["the clock goes back from 51.0 s to 0.0 s"]


def test_a_clock_that_trembles_or_stands_breaks_nothing() -> None:
    times = [0.0, 0.0, 0.0333, 0.0667, 0.06665, 0.1]
    found, timeline = kept(times, 30)
    assert timeline.breaks == []
    assert [index for index, _ in found] == [1, 2, 4, 5]


def test_no_frame_and_one_frame() -> None:
    assert kept([], 15)[0] == []
    assert kept([7.5], 15)[0] == [(0, 0)]


def test_the_last_frame_before_a_break_is_kept_if_it_lies_on_the_grid() -> None:
    found, _ = kept([0.0, 0.1, 0.2, 9.0, 9.1], 10)
    assert found == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)]
