"""The state of a training as a fold over its events: spans, tries, retunes, interruptions (L5, S4, T1–T6, H7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import Event, ended, event, failed, finished, gated, journal, started
from tinyworlds_gate.stages.progress import StageProgress

STAGE = "dynamics"
FRESH = StageProgress(STAGE, chunk_size=10, target=30)


def after(*events: Event, start: StageProgress = FRESH) -> StageProgress:
    return start.after_all(journal(*events))


def retuned(chunk: int, *, proceed: bool = True, **changes: Any) -> Event:
    return event("retune", stage=STAGE, chunk=chunk, id="T1", proceed=proceed, changes=changes, reason="the ladder")


def counted(chunk: int, start: int, end: int) -> list[Event]:
    return [started(chunk, STAGE, start, end), finished(chunk, STAGE, end), gated(chunk, STAGE)]


@pytest.mark.requirement("L5")
def test_chunks_follow_each_other_to_the_target() -> None:
    assert (FRESH.next_step, FRESH.span, FRESH.unproven) == ("run", (0, 10), 0)
    running = after(started(1, STAGE, 0, 10))
    assert (running.next_step, running.chunks, running.last_chunk) == ("settle", 1, 1)
    unjudged = after(started(1, STAGE, 0, 10), finished(1, STAGE, 10))
    assert (unjudged.next_step, unjudged.done, unjudged.span_start) == ("judge", 10, 0)
    assert after(*counted(1, 0, 10)).span == (10, 20)
    whole = after(*counted(1, 0, 10), *counted(2, 10, 20), *counted(3, 20, 30))
    assert (whole.next_step, whole.done) == ("finish", 30)
    assert whole.after(journal(ended(STAGE))[0]).next_step == "finished"


@pytest.mark.requirement("T1", "S4", "H7")
def test_a_failed_chunk_keeps_its_span_and_goes_on_where_it_left_a_checkpoint() -> None:
    lost = [started(2, STAGE, 10, 20), finished(2, STAGE, 20, cause="out_of_memory", checkpoint=None)]
    lost[1] |= failed("out_of_memory", continue_at=14)
    progress = after(*counted(1, 0, 10), *lost)
    assert (progress.next_step, progress.failure, progress.retries) == ("retune", "out_of_memory", 0)
    again = progress.after_all([retuned(2, batch_size_per_gpu=[2, 1])])
    assert (again.next_step, again.reason, again.retries, again.degraded) == ("run", "retune", 1, True)
    assert (again.done, again.span) == (14, (10, 20))
    done = again.after_all([started(3, STAGE, 14, 20), finished(3, STAGE, 20)])
    assert (done.next_step, done.span_start) == ("judge", 10), "the gate judges the whole span"
    assert done.after_all([gated(3, STAGE)]).span == (20, 30)


@pytest.mark.requirement("H8", "T1")
def test_a_stage_that_fell_to_a_batch_of_one_stays_degraded_after_another_retune() -> None:
    lost = [started(1, STAGE, 0, 10), finished(1, STAGE, 10, checkpoint=None) | failed("out_of_memory")]
    fell = after(*lost, retuned(1, batch_size_per_gpu=[2, 1]))
    assert (fell.degraded, fell.retries) == (True, 1)
    for changes in ({}, {"learning_rate": [1e-3, 5e-4]}, {"batch_size_per_gpu": [4, 2]}):
        again = fell.after_all([*lost, retuned(2, **changes)])
        assert (again.degraded, again.retries) == (True, 2)
    assert not after(*lost, retuned(1, batch_size_per_gpu=[4, 2])).degraded


@pytest.mark.requirement("L5")
def test_the_last_chunk_ends_at_the_target() -> None:
    short = StageProgress(STAGE, chunk_size=10, target=13)
    assert after(*counted(1, 0, 10), start=short).span == (10, 13)


@pytest.mark.requirement("S1", "S2", "S3")
@pytest.mark.parametrize(
    ("decision", "step"), [("continue", "run"), ("watch", "run"), ("retune", "retune"), ("invalid", "retune")]
)
def test_a_gate_that_watches_trains_on_and_any_other_that_is_not_met_retunes(decision: str, step: str) -> None:
    progress = after(started(1, STAGE, 0, 10), finished(1, STAGE, 10), gated(1, STAGE, decision))
    assert progress.next_step == step


@pytest.mark.requirement("H7")
def test_an_interrupted_chunk_costs_no_try() -> None:
    cut = finished(1, STAGE, 10, cause="interrupted", exit_code=None, checkpoint=None, continue_from={"step": 5})
    progress = after(started(1, STAGE, 0, 10), cut)
    assert (progress.next_step, progress.failure, progress.retries) == ("run", None, 0)
    assert (progress.reason, progress.done, progress.span) == ("planned", 6, (0, 10))


@pytest.mark.requirement("T2", "T4")
def test_a_gate_that_is_not_met_at_the_target_extends_it_with_its_own_schedule() -> None:
    end = [started(1, STAGE, 20, 30), finished(1, STAGE, 30), gated(1, STAGE, "retune"), retuned(1)]
    extended = after(*end)
    assert (extended.target, extended.schedule_start, extended.span) == (40, 30, (30, 40))
    before = after(started(1, STAGE, 0, 10), finished(1, STAGE, 10), gated(1, STAGE, "retune"), retuned(1))
    assert (before.target, before.schedule_start, before.span) == (30, 0, (10, 20))


@pytest.mark.requirement("T1")
def test_a_spent_budget_ends_the_training_with_both_reasons() -> None:
    lost = finished(1, STAGE, 10, cause="runtime_error", checkpoint=None) | failed()
    progress = after(started(1, STAGE), lost, retuned(1, proceed=False))
    assert (progress.next_step, progress.gave_up) == ("give_up", "it failed the ladder")


def test_a_full_disk_is_answered_by_no_ladder() -> None:
    lost = finished(1, STAGE, 10, cause="disk_full", checkpoint=None) | failed("disk_full", continue_at=4)
    progress = after(started(1, STAGE), lost)
    assert (progress.next_step, progress.done, progress.retries) == ("run", 4, 0)


@pytest.mark.requirement("S4")
def test_a_refused_checkpoint_opens_the_training_again() -> None:
    refused = event("checkpoint_refused", stage=STAGE, refused=[], used={"step": 13})
    progress = after(*counted(1, 0, 10), *counted(2, 10, 20), *counted(3, 20, 30), ended(STAGE), refused)
    assert (progress.next_step, progress.done, progress.span) == ("run", 14, (10, 20))
    at_a_bound = after(*counted(1, 0, 10), *counted(2, 10, 20), {**refused, "used": {"step": 9}})
    assert (at_a_bound.done, at_a_bound.span) == (10, (10, 20))
    nothing = after(*counted(1, 0, 10), {**refused, "used": None})
    assert (nothing.done, nothing.span) == (0, (0, 10))


@pytest.mark.requirement("S4")
def test_a_second_refusal_falls_back_to_the_span_of_its_checkpoint() -> None:
    refused = event("checkpoint_refused", stage=STAGE, refused=[], used={"step": 23})
    whole = after(*counted(1, 0, 10), *counted(2, 10, 20), *counted(3, 20, 30))
    once = whole.after_all(journal(refused))
    assert (once.done, once.span, once.starts) == (24, (20, 30), (0, 10))
    twice = once.after_all(journal({**refused, "used": {"step": 11}}))
    assert (twice.done, twice.span, twice.starts) == (12, (10, 20), (0,))
    thrice = twice.after_all(journal({**refused, "used": {"step": 4}}))
    assert (thrice.done, thrice.span, thrice.starts) == (5, (0, 10), ())


def test_events_of_other_stages_change_nothing() -> None:
    other = [started(1, "video_tokenizer"), finished(1, "video_tokenizer"), event("run_started")]
    assert after(*other) == FRESH


def raising(chunk: int, *raised: tuple[str, str], cause: str = "runtime_error") -> list[Event]:
    """A chunk that failed with exceptions of (type, place)."""
    failure = failed(cause)
    failure["failure"]["raised"] = [{"type": type, "place": place, "message": "m"} for type, place in raised]
    return [started(chunk, STAGE), finished(chunk, STAGE, cause=cause, checkpoint=None) | failure]


@pytest.mark.requirement("T1")
def test_the_same_exception_at_the_same_place_in_two_chunks_in_a_row_is_repeated() -> None:
    once = after(*raising(1, ("RuntimeError", "a.py:1")))
    assert once.repeated is None
    twice = once.after_all(journal(retuned(1), *raising(2, ("RuntimeError", "a.py:1"))))
    assert twice.repeated is not None
    assert twice.repeated.place == "a.py:1"
    other = once.after_all(journal(retuned(1), *raising(2, ("RuntimeError", "a.py:2"))))
    assert other.repeated is None
    between = once.after_all(journal(retuned(1), *counted(2, 0, 10), *raising(3, ("RuntimeError", "a.py:1"))))
    assert between.repeated is None, "a chunk that counted lies between them"


@pytest.mark.requirement("T1")
def test_two_errors_that_no_batch_mends_stop_wherever_they_are_raised() -> None:
    first = raising(1, ("FileNotFoundError", "a.py:1"), cause="setup_error")
    second = raising(2, ("ImportError", "b.py:2"), cause="setup_error")
    assert after(*first, retuned(1), *second).repeated is not None


@pytest.mark.requirement("T1")
def test_running_out_of_memory_twice_at_the_same_place_is_no_repetition() -> None:
    lost = [raising(number, ("OutOfMemoryError", "a.py:1"), cause="out_of_memory") for number in (1, 2)]
    assert after(*lost[0], retuned(1), *lost[1]).repeated is None


@pytest.mark.requirement("T2", "T4")
@pytest.mark.parametrize(("rates", "updates"), [([1e-3, 5e-4], 60), ([1e-3, 8e-4], 40), ([1e-3, 2e-4], 60)])
def test_a_target_that_restarts_gets_more_updates_with_a_lower_rate(rates: list[float], updates: int) -> None:
    """As many more as the rate falls, at least the stage's growth and at most twice: rate × updates does not fall."""
    fresh = StageProgress(STAGE, chunk_size=30, target=30, resumes=False, growth=10)
    end = [started(1, STAGE, 0, 30), finished(1, STAGE, 30), gated(1, STAGE, "retune")]
    grown = after(*end, retuned(1, learning_rate=rates), start=fresh)
    assert (grown.target, grown.span, grown.checkpoint) == (updates, (0, updates), None)
    crashed = after(*raising(1, ("RuntimeError", "a.py:1")), retuned(1), start=fresh)
    assert (crashed.target, crashed.span) == (30, (0, 30)), "an error is no reason to train longer"


def unproven(chunk: int, start: int, end: int, *, resumes: bool = True) -> list[Event]:
    """A chunk that trained normally without device evidence."""
    kept = {"step": end - 1}
    failure = {"failure": {"cause": "guard", "reason": "no evidence"}, "continue_from": kept if resumes else None}
    return [started(chunk, STAGE, start, end), finished(chunk, STAGE, end, checkpoint=kept) | failure]


def probed(chunk: int, seen: bool | None) -> Event:
    return event("device_probe", stage=STAGE, chunk=chunk, dual_gpu_ok=seen, dual_gpu_reason="x", updates=20)


@pytest.mark.requirement("H6", "T6", "H7")
def test_missing_device_evidence_is_probed_first_and_nothing_is_trained_again() -> None:
    lost = after(*unproven(1, 0, 10))
    assert (lost.next_step, lost.done, lost.trained) == ("probe", 10, {"step": 9})
    seen = lost.after_all(journal(probed(1, True)))
    assert seen.next_step == "retune"
    again = seen.after_all(journal(retuned(1)))
    assert (again.next_step, again.done, again.span) == ("run", 10, (0, 20)), "the span goes on behind the checkpoint"
    done = again.after_all(journal(started(2, STAGE, 10, 20), finished(2, STAGE, 20)))
    assert (done.next_step, done.span_start, done.unproven, done.probe) == ("judge", 0, 0, None)


@pytest.mark.requirement("H6", "T6")
def test_a_chunk_too_short_to_be_sampled_counts_with_the_evidence_of_its_probe() -> None:
    proven = after(*unproven(1, 0, 10), probed(1, True) | {"stands_for_chunk": True})
    assert (proven.next_step, proven.done, proven.unproven, proven.trained) == ("judge", 10, 0, None)
    restarted = after(*unproven(1, 0, 10, resumes=False), probed(1, True) | {"stands_for_chunk": True})
    assert (restarted.next_step, restarted.done) == ("judge", 10)


@pytest.mark.requirement("H6", "T6")
def test_at_the_target_the_stage_grows_by_a_chunk_to_have_its_evidence() -> None:
    lost = after(*unproven(1, 0, 30), probed(1, True), retuned(1), start=StageProgress(STAGE, 30, 30, growth=5))
    assert (lost.target, lost.span, lost.schedule_start) == (35, (0, 35), 30)


@pytest.mark.requirement("H6", "T6")
def test_before_the_target_too_the_span_goes_on_by_the_stage_s_growth() -> None:
    for growth, end in ((5, 15), (0, 20), (25, 30)):
        start = StageProgress(STAGE, chunk_size=10, target=30, growth=growth)
        assert after(*unproven(1, 0, 10), probed(1, True), retuned(1), start=start).span == (0, end)


@pytest.mark.requirement("H6", "T6")
def test_a_second_chunk_without_evidence_is_not_probed_again() -> None:
    lost = after(*unproven(1, 0, 10), probed(1, True), retuned(1), *unproven(2, 10, 20))
    assert (lost.next_step, lost.unproven, lost.trained) == ("retune", 2, {"step": 19})
    crashed = lost.after_all(journal(retuned(2), *raising(3, ("RuntimeError", "a.py:1"))))
    assert (crashed.unproven, crashed.trained) == (0, None), "another failure lies between"
    stopped = lost.after_all(journal(retuned(2, proceed=False)))
    assert (stopped.next_step, stopped.gave_up_after) == ("give_up", "guard")
