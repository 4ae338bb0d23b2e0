"""Effective training time is what a journal shows. ``pytest tests/unit/reports/test_effective_time.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.reports.effective_time import effective_time, effective_time_text

STAGE = "dynamics"


def started(time: float, start: int, end: int, stage: str = STAGE) -> dict[str, Any]:
    return {"event": "chunk_started", "time": time, "stage": stage, "start_update": start, "end_update": end}


def finished(time: float, *, pace: float | None = 10.0, kept: int | None = None, cause: str = "ok") -> dict[str, Any]:
    failure = None if cause in ("ok", "interrupted") else {"cause": cause, "reason": "it was killed"}
    back = None if kept is None else {"step": kept - 1}
    return {
        "event": "chunk_finished",
        "time": time,
        "stage": STAGE,
        "cause": cause,
        "failure": failure,
        "continue_from": back,
        "updates_per_s": pace,
    }


def event(name: str, time: float, **more: Any) -> dict[str, Any]:
    return {"event": name, "time": time, **more}


def seconds(*events: dict[str, Any]) -> tuple[float, float] | None:
    found = effective_time(events)
    return None if found is None else (round(found.kept_s, 3), round(found.wall_s, 3))


def test_a_chunk_that_counts_is_its_updates_of_its_wall_time() -> None:
    assert seconds(started(0, 0, 100), finished(12)) == (10, 12)
    assert effective_time_text(effective_time([started(0, 0, 100), finished(12.5)])) == (
        "80.0 % of 12 s of training became updates of the models"
    )


@pytest.mark.parametrize("cause", ["killed", "interrupted"])
def test_of_a_chunk_that_was_killed_only_what_its_checkpoint_holds_is_kept(cause: str) -> None:
    lost = [started(0, 0, 100), finished(9, kept=60, cause=cause)]
    assert seconds(*lost) == (6, 9)
    assert seconds(*lost, started(10, 60, 100), finished(16)) == (10, 16)
    assert seconds(started(0, 0, 100), finished(9, kept=None, cause=cause), started(10, 0, 100), finished(22)) == (
        10,
        22,
    )


def test_updates_that_are_trained_again_count_once() -> None:
    events = [started(0, 0, 100), finished(11), started(11, 100, 200), finished(22), started(22, 50, 200), finished(40)]
    assert seconds(*events) == (20, 40)
    back = event("checkpoint_refused", 23, stage=STAGE, used={"step": 49})
    assert seconds(*events[:4], back) == (5, 22)
    assert seconds(*events[:4], {**back, "used": None}, started(30, 0, 10), finished(31)) == (1, 31)


def test_the_time_until_a_killed_run_is_resumed_counts_but_not_after_an_orderly_end() -> None:
    killed = [started(0, 0, 100), event("run_started", 50), finished(51, pace=None, kept=50, cause="interrupted")]
    rest = [started(52, 50, 100), finished(60)]
    assert seconds(*killed, *rest) == (10, 60)
    stopped = [started(0, 0, 100), event("interrupted", 8), event("run_finished", 9), event("run_started", 50)]
    ended = finished(51, pace=None, kept=50, cause="interrupted")
    assert seconds(*stopped, ended, *rest) == (10, 16)


def test_inference_is_no_training() -> None:
    first = [started(0, 0, 100), finished(11), event("inference_started", 12), event("gate_verdict", 90)]
    assert seconds(*first, started(100, 100, 150), finished(106)) == (15, 17)


def test_without_a_pace_or_an_end_there_is_no_share() -> None:
    for events in ([], [started(0, 0, 100)], [started(0, 0, 100), finished(9, pace=None)]):
        assert effective_time(events) is None
    assert effective_time_text(None) is None


@pytest.mark.parametrize("wrong", [{"start_update": "x"}, {"start_update": None}, {"time": [1]}, {"time": "?"}])
def test_a_journal_of_somebody_else_has_no_share(wrong: dict[str, Any]) -> None:
    assert effective_time([{**started(0, 0, 100), **wrong}, finished(9)]) is None
