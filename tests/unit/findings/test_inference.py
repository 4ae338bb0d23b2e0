"""Findings on inference, its gate and the answer to a failure, from small journals (L6–L8, G1–G5, H3, T5, T7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, Event, by_id, event, holds, journal
from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.inference import gate_conditions, gate_passed, inference_run, retraining

RETRY = RetryPlanConfig(chunk=100, init_learning_rate=5e-4, lr_decay=0.7, lr_floor=1e-6, max=2)


def attempt(
    number: int, verdict: str = "PASS", *, recon: float | None = 0.001, draw: int = 1, weights: str = "", **changes: Any
) -> list[Event]:
    conditions = [{"id": f"G{rule}", "verdict": "PASS", "reason": f"G{rule} holds"} for rule in range(1, 6)]
    if verdict != "PASS":
        conditions.append({"id": "G5.skill", "verdict": verdict, "reason": "skill -0.5"})
    judged = {
        "verdict": verdict,
        "sentence": f"{verdict}: sentence of attempt {number}",
        "conditions": conditions,
        "measures": {"tokenizer_recon_mse": recon, "mse": number / 100, "clip_digest": f"draw {draw}"},
        **changes,
    }
    return [
        event("inference_started", attempt=number, draw=draw),
        event(
            "inference_finished",
            attempt=number,
            draw=draw,
            exit_code=0,
            log=f"log_{number}",
            picture=f"{number}.png",
            checkpoints={"dynamics": {"sha256": weights or str(number)}},
        ),
        event("gate_verdict", attempt=number, draw=draw, **judged),
    ]


def retrained(k: int, rate: float, start: int = 50) -> Event:
    return event("dynamics_retrain", retry=k, learning_rate=rate, from_update=start, to_update=start + 100)


@pytest.mark.requirement("L6", "L7")
def test_every_inference_run_ended_and_was_judged() -> None:
    found = by_id(inference_run(journal(*attempt(1, "FAIL"), *attempt(2))))
    holds(found["L6"], "PASS", r"2 inference run\(s\)")
    holds(found["L7"], "PASS", r"2 verdict\(s\) over picture and error")
    assert (found["L6"].evidence, found["L7"].evidence) == ("log_2", "2.png")
    for one in inference_run(NOTHING):
        holds(one, "NOT-RUN", "inference was not run")
    for unfinished in (event("inference_started", attempt=2), event("inference_started", attempt=1, draw=2)):
        cut = by_id(inference_run(journal(*attempt(1), unfinished)))
        holds(cut["L6"], "FAIL", "an inference run did not finish")
        holds(cut["L7"], "FAIL", "2 inference runs, but 1 verdicts")


@pytest.mark.requirement("L6", "L7")
def test_a_process_that_was_run_again_under_its_number_is_one_attempt() -> None:
    killed = [
        event("inference_started", attempt=1),
        event("inference_finished", attempt=1, exit_code=None, signal="SIGKILL", cause="killed", log="log_1"),
        event("inference_retry", attempt=1, cause="killed", batch_size=[64, 64], reason="it was ended from outside"),
    ]
    cut_short = [event("inference_started", attempt=1)]
    for before in (killed, cut_short):
        found = by_id(inference_run(journal(*before, *attempt(1))))
        assert {one.verdict for one in found.values()} == {"PASS"}


@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
def test_the_conditions_of_an_attempt_are_grouped_and_the_worst_stands() -> None:
    passed = by_id(gate_conditions(journal(*attempt(1)), 1))
    assert list(passed) == ["G1", "G2", "G3", "G4", "G5"]
    assert {one.verdict for one in passed.values()} == {"PASS"}
    failed = by_id(gate_conditions(journal(*attempt(1, "FAIL"), *attempt(2)), 1))
    assert failed["G5"] == Finding("G5", "FAIL", "skill -0.5")
    assert failed["G4"].verdict == "PASS"
    holds(by_id(gate_conditions(journal(*attempt(1, "INVALID")), 1))["G5"], "INVALID", "skill -0.5")
    assert {one.verdict for one in gate_conditions(NOTHING, 1)} == {"NOT-RUN"}
    assert {one.verdict for one in gate_conditions(journal(*attempt(1)), 2)} == {"NOT-RUN"}
    both = journal(*attempt(2), *attempt(2, "FAIL", draw=2))
    assert by_id(gate_conditions(both, 2))["G5"].verdict == "PASS"
    assert by_id(gate_conditions(both, 2, 2))["G5"].verdict == "FAIL"


@pytest.mark.requirement("H3")
def test_training_is_complete_only_with_the_last_gate_passed() -> None:
    holds(gate_passed(journal(*attempt(1, "FAIL"), *attempt(2))), "PASS", "sentence of attempt 2")
    holds(gate_passed(journal(*attempt(1), *attempt(2, "FAIL"))), "FAIL", "sentence of attempt 2")
    holds(gate_passed(journal(*attempt(1, "INVALID"))), "FAIL", "INVALID: sentence of attempt 1")
    holds(gate_passed(NOTHING), "NOT-RUN", "inference was not run")


FAILED_THEN_PASSED = [*attempt(1, "FAIL"), retrained(0, 5e-4), *attempt(2)]
FINAL = attempt(2, draw=2)


@pytest.mark.requirement("H3", "L8")
def test_a_pass_after_retraining_counts_only_with_a_final_verdict_on_other_clips_and_the_same_weights() -> None:
    whole = journal(*FAILED_THEN_PASSED, *FINAL)
    holds(gate_passed(whole), "PASS", "sentence of attempt 2")
    told = r"verdict on the attempts' clips and on a second draw .*: PASS \(error 0.0200\), PASS \(error 0.0200\)"
    holds(by_id(retraining(whole, RETRY, 0.03))["L8"], "PASS", told)
    failed = journal(*FAILED_THEN_PASSED, *attempt(2, "FAIL", draw=2))
    holds(gate_passed(failed), "FAIL", "sentence of attempt 2")
    holds(by_id(retraining(failed, RETRY, 0.03))["L8"], "FAIL", "the gate did not pass; 1 retraining.*PASS.*, FAIL")
    same_clips = attempt(2, draw=2, measures={"clip_digest": "draw 1", "tokenizer_recon_mse": 0.001})
    wrong = {
        "no final verdict was taken on a second draw": FAILED_THEN_PASSED,
        "are not of the same weights": [*FAILED_THEN_PASSED, *attempt(2, draw=2, weights="other")],
        "was taken on the clips of the attempts": [*FAILED_THEN_PASSED, *same_clips],
        "retrained after the final verdict of attempt 2: its clips were seen by then": [
            *FAILED_THEN_PASSED,
            *attempt(2, "FAIL", draw=2),
            retrained(1, 3.5e-4, 150),
            *attempt(3),
            *attempt(3, draw=2),
        ],
    }
    for said, events in wrong.items():
        holds(gate_passed(journal(*events)), "INVALID", said)
        holds(by_id(retraining(journal(*events), RETRY, 0.03))["L8"], "FAIL", said)


@pytest.mark.requirement("H3")
def test_a_run_that_did_not_retry_needs_no_second_draw() -> None:
    holds(gate_passed(journal(*attempt(1))), "PASS", "sentence of attempt 1")
    expired = journal(*attempt(1, "FAIL"), event("verdict_expired", attempt=1), *attempt(2))
    holds(gate_passed(expired), "PASS", "sentence of attempt 2")


@pytest.mark.requirement("L8", "T5", "T7")
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            journal(*attempt(1)),
            {
                "L8": ("PASS", "the first attempt passed; the ladder was ready .learning rates 0.0005, 0.00035"),
                "T5": ("PASS", "the first attempt passed"),
                "T7": ("PASS", "tokenizer floor 0.0010 against max_mse 0.03"),
            },
        ),
        (
            journal(*FAILED_THEN_PASSED, *FINAL),
            {
                "L8": ("PASS", r"1 retraining\(s\) after 2 attempt\(s\)"),
                "T5": ("PASS", "1 retraining"),
                "T7": ("PASS", "tokenizer floor"),
            },
        ),
        (
            journal(
                *attempt(1, "FAIL"),
                retrained(0, 5e-4),
                *attempt(2, "FAIL"),
                retrained(1, 3.5e-4, 150),
                *attempt(3, "FAIL"),
            ),
            {
                "L8": ("FAIL", r"the gate did not pass; 2 retraining\(s\)"),
                "T5": ("PASS", "2 retraining"),
                "T7": ("PASS", ""),
            },
        ),
        (
            journal(*attempt(1, "FAIL"), retrained(0, 1e-3), *attempt(2), *FINAL),
            {
                "L8": ("FAIL", "retry 1 used learning rate 0.001 to update 150, planned were 0.0005 and 150"),
                "T5": ("FAIL", "retry 1 used learning rate 0.001"),
                "T7": ("PASS", ""),
            },
        ),
        (
            journal(*FAILED_THEN_PASSED, retrained(1, 3.5e-4), *attempt(3), retrained(2, 1e-4), *attempt(4)),
            {"L8": ("FAIL", "retry 3 is beyond the budget of 2"), "T5": ("FAIL", "retry 3"), "T7": ("PASS", "")},
        ),
        (
            journal(*attempt(1, "FAIL", recon=0.2), retrained(0, 5e-4), *attempt(2), *FINAL),
            {
                "L8": ("PASS", "1 retraining"),
                "T5": ("PASS", "1 retraining"),
                "T7": ("FAIL", "dynamics was retrained after attempt 1 although the tokenizer alone is above 0.03"),
            },
        ),
        (
            journal(*attempt(1, "FAIL", recon=0.2)),
            {
                "L8": ("FAIL", "the gate did not pass; no retraining was possible or allowed"),
                "T5": ("PASS", "no retraining was possible"),
                "T7": ("PASS", "tokenizer floor 0.2000 against max_mse 0.03: .*Improve the tokenizer first"),
            },
        ),
        (
            journal(*attempt(1, "INVALID", measures=None)),
            {"L8": ("FAIL", "no retraining"), "T5": ("PASS", ""), "T7": ("PASS", "tokenizer floor unknown")},
        ),
        (NOTHING, {id: ("NOT-RUN", "inference was not run") for id in ("L8", "T5", "T7")}),
    ],
)
def test_a_failed_gate_is_answered_as_planned(events: list[Event], expected: dict[str, tuple[str, str]]) -> None:
    found = by_id(retraining(events, RETRY, 0.03))
    assert set(found) == set(expected)
    for id, (verdict, said) in expected.items():
        holds(found[id], verdict, said)
