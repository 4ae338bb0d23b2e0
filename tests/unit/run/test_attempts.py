"""Which final verdict a run needs, and whether it has it. ``pytest tests/unit/run/test_attempts.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, Event, event, journal
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, FINAL
from tinyworlds_gate.run.attempts import attempt_name, attempt_of, final_draw, final_problems, is_final

RETRAIN = event("dynamics_retrain", retry=0)
EVALUATED = event("dataset_ready", evaluation={"path": "frames.h5"})


def inferred(number: int, draw: int = ATTEMPTS, weights: str = "w") -> Event:
    return event("inference_finished", attempt=number, draw=draw, checkpoints={"dynamics": {"sha256": weights}})


def verdict(number: int, verdict: str = "PASS", draw: int = ATTEMPTS, **fields: Any) -> Event:
    clips = fields.pop("clips", f"draw {draw}")
    return event("gate_verdict", attempt=number, draw=draw, verdict=verdict, measures={"clip_digest": clips}, **fields)


def attempt(number: int, judged: str = "PASS", draw: int = ATTEMPTS, weights: str = "w", **fields: Any) -> list[Event]:
    return [inferred(number, draw, weights), verdict(number, judged, draw, **fields)]


def test_an_attempt_has_a_number_and_a_draw_and_old_journals_know_draw_1_only() -> None:
    assert attempt_of({"attempt": 2}) == (2, ATTEMPTS)
    assert attempt_of({"attempt": 2, "draw": None}) == (2, ATTEMPTS)
    assert attempt_of({"attempt": 2, "draw": FINAL}) == (2, FINAL)
    assert [is_final({"attempt": 1, "draw": draw}) for draw in (ATTEMPTS, FINAL, EVALUATION)] == [False, True, True]
    names = [attempt_name(2, draw) for draw in (ATTEMPTS, FINAL, EVALUATION)]
    assert names == ["attempt 2", "attempt 2, final draw", "attempt 2, evaluation set"]


def test_a_final_verdict_is_needed_after_a_retry_or_with_an_evaluation_set() -> None:
    assert final_draw(NOTHING) is None
    assert final_draw(journal(event("dataset_ready", evaluation=None))) is None
    assert final_draw(journal(RETRAIN)) == FINAL
    assert final_draw(journal(EVALUATED)) == EVALUATION
    assert final_draw(journal(EVALUATED, RETRAIN)) == EVALUATION


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    "events",
    [
        NOTHING,
        journal(RETRAIN),
        journal(EVALUATED),
        journal(*attempt(1)),
        journal(*attempt(1, "FAIL"), RETRAIN, *attempt(2, "FAIL")),
        journal(*attempt(1, "FAIL"), RETRAIN, *attempt(2), *attempt(2, draw=FINAL)),
        journal(EVALUATED, *attempt(1), *attempt(1, draw=EVALUATION)),
        journal(*attempt(1, "FAIL"), RETRAIN, verdict(2), verdict(2, draw=FINAL)),
        journal(*attempt(1, "FAIL"), RETRAIN, verdict(2, clips=None), verdict(2, draw=FINAL, clips=None)),
    ],
    ids=[
        *("nothing", "no-attempt", "no-attempt-yet", "first", "failed-again", "retried", "evaluated"),
        *("no-checkpoints", "no-digests"),
    ],
)
def test_a_run_that_needs_no_final_verdict_or_has_one_has_no_problem(events: list[Event]) -> None:
    assert final_problems(events) == []


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (
            journal(*attempt(1, "FAIL"), RETRAIN, *attempt(2)),
            "attempt 2 passed after retraining, but no final verdict was taken on a second draw",
        ),
        (
            journal(EVALUATED, *attempt(1)),
            "attempt 1 passed, but no final verdict was taken on the evaluation set",
        ),
        (
            journal(*attempt(1, "FAIL"), RETRAIN, *attempt(2), *attempt(1, draw=FINAL)),
            "attempt 2 passed after retraining, but no final verdict was taken on a second draw",
        ),
        (
            journal(*attempt(1, "FAIL"), RETRAIN, *attempt(2), *attempt(2, draw=FINAL, weights="other")),
            "attempt 2 and its final verdict are not of the same weights",
        ),
        (
            journal(*attempt(1, "FAIL"), RETRAIN, *attempt(2), *attempt(2, draw=FINAL, clips=f"draw {ATTEMPTS}")),
            "the final verdict of attempt 2 was taken on the clips of the attempts",
        ),
        (
            journal(RETRAIN, *attempt(1), *attempt(1, draw=FINAL), RETRAIN),
            "dynamics was retrained after the final verdict of attempt 1: its clips were seen by then",
        ),
    ],
)
def test_a_final_verdict_is_of_the_last_attempt_its_weights_and_unseen_clips(events: list[Event], problem: str) -> None:
    assert final_problems(events) == [problem]


@pytest.mark.requirement("H3")
def test_the_weights_of_an_attempt_are_those_of_its_last_process() -> None:
    """A process that was killed is started again under the same attempt; its record has no or other weights."""
    start = [*attempt(1, "FAIL"), RETRAIN]
    for killed in (inferred(2, weights="of the killed process"), event("inference_finished", attempt=2)):
        assert final_problems(journal(*start, killed, *attempt(2), *attempt(2, draw=FINAL))) == []
        swapped = journal(*start, killed, *attempt(2, weights="new"), *attempt(2, draw=FINAL, weights="other"))
        assert final_problems(swapped) == ["attempt 2 and its final verdict are not of the same weights"]
    other = inferred(1, FINAL, weights="of another attempt")
    assert final_problems(journal(*start, *attempt(2), other, *attempt(2, draw=FINAL))) == []
