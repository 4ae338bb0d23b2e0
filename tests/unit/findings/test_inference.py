"""Findings on inference, its gate and the answer to a failure, from small journals (L6–L8, G1–G5, H3, T5, T7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, Event, by_id, ended, event, holds, journal, started
from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings.base import Finding, MissingFactError
from tinyworlds_gate.findings.inference import (
    agreement,
    gate_conditions,
    gate_passed,
    inference_run,
    objects,
    past,
    strongest_baseline,
)
from tinyworlds_gate.findings.retraining import retraining

NO_TRAINING = {"options.train_stage": {"value": "none", "source": "option --train-stage"}}
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
    holds(found["L6"], "PASS", r"2 inference run\(s\) finished; the last log is log_2")
    holds(found["L7"], "PASS", r"2 verdict\(s\) on picture and error; last: 2.png")
    assert (found["L6"].evidence, found["L7"].evidence) == ("log_2", "2.png")
    for one in inference_run(NOTHING):
        holds(one, "NOT-RUN", "inference was not run")
    for number, draw, name in ((2, 1, "attempt 2"), (1, 2, "attempt 1, draw 2")):
        cut = by_id(inference_run(journal(*attempt(1), event("inference_started", attempt=number, draw=draw))))
        holds(cut["L6"], "FAIL", f"the inference run of {name} did not finish")
        holds(cut["L7"], "FAIL", "follows from L6")
    unjudged = by_id(inference_run(journal(*attempt(1), *attempt(2)[:2])))
    holds(unjudged["L6"], "PASS", "2 inference run")
    holds(unjudged["L7"], "FAIL", "attempt 2 has no verdict")
    blind = attempt(1, conditions=[{"id": "G5", "verdict": "PASS", "reason": "low"}])
    holds(by_id(inference_run(journal(*blind)))["L7"], "FAIL", "the verdict of attempt 1 has no condition G4")


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
def test_the_conditions_of_an_attempt_are_grouped_and_the_worst_one_counts() -> None:
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
    told = r"verdicts on the attempts' clips and on a second draw .*: PASS \(error 0.0200\), PASS \(error 0.0200\)"
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


OWN_CRASHED = [
    {"id": "G1.target", "verdict": "FAIL", "reason": "it ended with exit code 1"},
    {"id": "G5.target", "verdict": "FAIL", "reason": "nothing was measured"},
]
OWN_ERROR_IS_LARGE = [
    {"id": "G1.target", "verdict": "PASS", "reason": "exit code 0"},
    {"id": "G5.target", "verdict": "FAIL", "reason": "0.05 is above 0.03"},
]
WITHIN = ("NOT-RUN", r"no occasion: the tokenizer's own reconstruction error 0\.0010 is within max_mse 0\.03")


@pytest.mark.requirement("L8", "T5", "T7")
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            journal(*attempt(1)),
            {
                "L8": ("NOT-RUN", "no occasion: the first attempt passed"),
                "T5": ("NOT-RUN", "no occasion: the gate passed at its first attempt, so nothing was retrained"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*FAILED_THEN_PASSED, *FINAL),
            {
                "L8": ("PASS", r"1 retraining\(s\) after 2 attempt\(s\)"),
                "T5": ("PASS", r"1 retraining\(s\) from the newest checkpoint: to update 150 at learning rate 0\.0005"),
                "T7": WITHIN,
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
                "L8": (
                    "FAIL",
                    r"follows from G5: the gate did not pass; 2 retraining\(s\) after 3 attempt\(s\); the budget of 2 "
                    r"retries is spent \(--max-inference-retries\)",
                ),
                "T5": ("PASS", "2 retraining"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL"), retrained(0, 1e-3), *attempt(2), *FINAL),
            {
                "L8": ("FAIL", "follows from T5: retry 1 used learning rate 0.001"),
                "T5": ("FAIL", r"retry 1 used learning rate 0\.001; 0\.0005 · 0\.7\^0 is 0\.0005"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL"), {**retrained(0, 5e-4), "to_update": 160}, *attempt(2), *FINAL),
            {
                "L8": ("FAIL", "follows from T5"),
                "T5": ("FAIL", r"retry 1 trained to update 160; 50 \+ one retry chunk of 100 is 150"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL"), retrained(0, 5e-4), started(5, "dynamics", 50, 150), *attempt(2), *FINAL),
            {
                "L8": ("FAIL", "follows from T5"),
                "T5": ("FAIL", r"retry 1 trained at learning rate 0\.001, not at the planned 0\.0005"),
                "T7": WITHIN,
            },
        ),
        (
            journal(ended("dynamics", updates=80), *attempt(1, "FAIL"), retrained(0, 5e-4), *attempt(2), *FINAL),
            {
                "L8": ("FAIL", "follows from T5"),
                "T5": ("FAIL", "continued from update 50, but the newest dynamics checkpoint has 80 updates"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*FAILED_THEN_PASSED, retrained(1, 3.5e-4), *attempt(3), retrained(2, 1e-4), *attempt(4)),
            {
                "L8": ("FAIL", "follows from T5"),
                "T5": ("FAIL", "retry 2 followed a verdict that passed; retry 3 exceeds the budget of 2"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL")),
            {
                "L8": ("FAIL", r"^the gate did not pass, 0 of 2 retries were used .*was not retrained again"),
                "T5": ("NOT-RUN", "no occasion: nothing was retrained: it was due"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL", conditions=OWN_CRASHED)),
            {
                "L8": ("FAIL", r"follows from G1: .*no retraining can mend it: it ended with exit code 1"),
                "T5": ("NOT-RUN", "nothing was retrained: no retraining can mend it: it ended with exit code 1"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL", conditions=OWN_ERROR_IS_LARGE)),
            {
                "L8": ("FAIL", r"^the gate did not pass, 0 of 2 retries were used .*was not retrained again"),
                "T5": ("NOT-RUN", "no occasion: nothing was retrained: it was due"),
                "T7": WITHIN,
            },
        ),
        (
            journal(event("settings_resolved", settings=NO_TRAINING), *attempt(1, "FAIL")),
            {
                "L8": ("FAIL", "follows from G5: .*no retraining: --train-stage none trains no dynamics"),
                "T5": ("NOT-RUN", "nothing was retrained: no retraining: --train-stage none trains no dynamics"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL"), retrained(0, 5e-4), ended("dynamics", "FAIL", reason="the budget is spent")),
            {
                "L8": ("FAIL", "follows from G5: .*retry 1 did not complete its training: the budget is spent"),
                "T5": ("PASS", "1 retraining"),
                "T7": WITHIN,
            },
        ),
        (
            journal(*attempt(1, "FAIL", recon=0.2), retrained(0, 5e-4), *attempt(2), *FINAL),
            {
                "L8": ("PASS", "1 retraining"),
                "T5": ("PASS", "1 retraining"),
                "T7": (
                    "FAIL",
                    r"retrained after attempt 1 although the tokenizer's reconstruction error 0\.2000 is above max_mse "
                    r"0\.03",
                ),
            },
        ),
        (
            journal(*attempt(1, "FAIL", recon=0.2)),
            {
                "L8": ("FAIL", r"no retraining: the tokenizer's own reconstruction error 0\.2 is above max_mse 0\.03"),
                "T5": ("NOT-RUN", "nothing was retrained: no retraining: the tokenizer's own"),
                "T7": ("PASS", "dynamics was not retrained: .* 0.2000 is above max_mse 0.03; improve the tokenizer"),
            },
        ),
        (
            journal(*attempt(1, "INVALID", measures=None)),
            {
                "L8": ("FAIL", "0 of 2 retries were used"),
                "T5": ("NOT-RUN", "nothing was retrained"),
                "T7": ("NOT-RUN", "no occasion: the tokenizer's own reconstruction error was not measured"),
            },
        ),
        (NOTHING, {id: ("NOT-RUN", "inference was not run") for id in ("L8", "T5", "T7")}),
    ],
)
def test_a_failed_gate_is_answered_as_specified(events: list[Event], expected: dict[str, tuple[str, str]]) -> None:
    found = by_id(retraining(events, RETRY, 0.03))
    assert set(found) == set(expected)
    for id, (verdict, said) in expected.items():
        holds(found[id], verdict, said)


@pytest.mark.requirement("T5")
def test_a_target_that_cannot_resume_retrains_from_update_0() -> None:
    described = event("target_described", kind="tinyworlds", can={"resumes": False})
    params = {**started(5, "dynamics")["params"], "learning_rate": 5e-4}
    anew = started(5, "dynamics", 0, 150, params=params)
    events = journal(described, *attempt(1, "FAIL"), retrained(0, 5e-4), anew, *attempt(2), *FINAL)
    holds(by_id(retraining(events, RETRY, 0.03))["T5"], "PASS", "1 retraining")
    holds(by_id(retraining(events[1:], RETRY, 0.03))["T5"], "FAIL", "began at update 0, not at 50")


@pytest.mark.requirement("G1", "G4", "G5", "H3", "C4")
def test_one_cause_is_named_by_what_follows_from_it() -> None:
    broken = [{"id": f"G{rule}", "verdict": "FAIL", "reason": f"no G{rule}"} for rule in (1, 3, 4, 5)]
    events = journal(*attempt(1, "FAIL", conditions=[*broken, {"id": "G2", "verdict": "PASS", "reason": "yes"}]))
    found = by_id(gate_conditions(events, 1))
    assert {id: one.follows_from for id, one in found.items()} == {
        "G1": None,
        "G2": None,
        **dict.fromkeys(("G3", "G4", "G5"), "G1"),
    }
    assert (gate_passed(events).verdict, gate_passed(events).follows_from) == ("FAIL", "G1")
    agreed = event("checkpoints_checked", checks=[{"id": "C4", "verdict": "FAIL", "reason": "sizes"}], checkpoints={})
    whole = [{"id": f"G{rule}", "verdict": "PASS", "reason": "yes"} for rule in range(1, 6)]
    assert gate_passed(journal(agreed, *attempt(1, "INVALID", conditions=whole))).follows_from == "C4"


@pytest.mark.requirement("G1", "G4", "G5")
@pytest.mark.parametrize(
    ("id", "changes", "said"),
    [
        ("G1", {"exit_code": 3}, "but the journal records exit code 3"),
        ("G4", {"picture": None}, "but the journal names no picture of this attempt"),
        ("G5", {"mse": 0.04}, r"but the measured error 0\.04 is above max_mse 0\.03"),
        ("G5", {"mse": float("nan")}, "but the measured error is nan"),
        ("G5", {"mse": None}, "but the measured error is None"),
    ],
)
def test_a_condition_that_the_journal_contradicts_is_invalid(id: str, changes: Event, said: str) -> None:
    begun, done, judged = attempt(1, thresholds={"max_mse": 0.03})
    if "mse" in changes:
        judged = {**judged, "measures": {**judged["measures"], **changes}}
    else:
        done = {**done, **changes}
    holds(by_id(gate_conditions(journal(begun, done, judged), 1))[id], "INVALID", said)
    missing = [one for one in judged["conditions"] if one["id"] != id]
    found = by_id(gate_conditions(journal(begun, done, {**judged, "conditions": missing}), 1))
    holds(found[id], "INVALID", f"has no condition {id}")


@pytest.mark.requirement("G1", "G4", "G5")
def test_a_condition_that_failed_stays_failed_where_the_journal_contradicts_it_too() -> None:
    failed = [{"id": f"G{rule}", "verdict": "FAIL", "reason": f"no G{rule}"} for rule in range(1, 6)]
    begun, done, judged = attempt(1, "FAIL", conditions=failed, thresholds={"max_mse": 0.001})
    events = journal(begun, {**done, "exit_code": 3, "picture": None}, judged)
    assert {one.verdict for one in gate_conditions(events, 1)} == {"FAIL"}


ROWS = {
    "G6": (objects, "min_object_share", 0.9),
    "G7": (past, "min_past_ratio", 1.05),
    "G8": (strongest_baseline, "require_skill_strongest", True),
}


@pytest.mark.requirement("G6", "G7", "G8")
@pytest.mark.parametrize("id", ROWS)
def test_a_row_that_a_profile_may_require_is_its_condition_in_the_last_verdict(id: str) -> None:
    row, key, value = ROWS[id]

    def judged(verdict: str, broken: tuple[str, ...] = (), number: int = 1) -> list[Event]:
        states = {f"G{rule}": "FAIL" if f"G{rule}" in broken else "PASS" for rule in range(1, 6)} | {id: verdict}
        conditions = [{"id": one, "verdict": state, "reason": f"{one} {state}"} for one, state in states.items()]
        overall = "FAIL" if "FAIL" in states.values() else "PASS"
        return attempt(number, overall, conditions=conditions, thresholds={key: value})

    assert row(NOTHING) == Finding(id, "NOT-RUN", "inference was not run")
    assert row(journal(*judged("PASS"))) == Finding(id, "PASS", f"{id} PASS")
    assert row(journal(*judged("FAIL"))) == Finding(id, "FAIL", f"{id} FAIL")
    assert row(journal(*judged("FAIL"), *judged("PASS", number=2))) == Finding(id, "PASS", f"{id} PASS")
    assert row(journal(*judged("PASS", ("G5",)))) == Finding(id, "PASS", f"{id} PASS"), "it holds all the same"
    assert row(journal(*judged("NOT-RUN", ("G5",)))) == Finding(id, "NOT-RUN", f"{id} NOT-RUN")
    for broken, cause in ((("G5",), "G5"), (("G1",), "G1"), (("G1", "G5"), "G1")):
        expected = Finding(id, "FAIL", f"follows from {cause}: {id} FAIL", follows_from=cause)
        assert row(journal(*judged("FAIL", broken))) == expected
    assert row(journal(*judged("FAIL", ("G2", "G3", "G4")))) == Finding(id, "FAIL", f"{id} FAIL")


@pytest.mark.requirement("G6", "G7", "G8")
def test_a_row_that_the_profile_does_not_require_has_no_occasion_and_shows_what_was_measured() -> None:
    off = {"min_object_share": None, "min_past_ratio": None, "require_skill_strongest": False}
    for row in (objects, past, strongest_baseline):
        for measures in (
            None,
            {},
            {"objects": None, "past": None, "skill_strongest": None, "skill_strongest_low": 0.1},
        ):
            found = row(journal(*attempt(1, thresholds=off, measures=measures)))
            holds(found, "NOT-RUN", "^no occasion: the profile does not require it$")
        for older in (attempt(1, thresholds=None), attempt(1, thresholds={})):
            found = row(journal(*older))
            holds(found, "NOT-RUN", "^no occasion: an older version took the verdict, which did not measure it$")
    measured = {"skill_strongest": 0.391, "skill_strongest_low": 0.2, "strongest_baseline": "blend"}
    found = strongest_baseline(journal(*attempt(1, thresholds=off, measures=measured)))
    holds(found, "NOT-RUN", r"require it; measured: skill 0\.39 \(95 % interval from 0\.20\) against the blend$")
    ignored = {"past": {"no_occasion": None, "ratio": 1.0, "ratio_low": 0.9}}
    found = past(journal(*attempt(1, thresholds=off, measures=ignored)))
    holds(found, "NOT-RUN", r"require it; measured: .* typically 1\.00 times the own one \(95 % interval from 0\.90\)$")
    unseen = {"past": {"no_occasion": "few episodes"}}
    holds(past(journal(*attempt(1, thresholds=off, measures=unseen))), "NOT-RUN", "require it; few episodes$")
    unseen = {"objects": {"no_occasion": "no object was seen"}}
    found = objects(journal(*attempt(1, thresholds=off, measures=unseen)))
    holds(found, "NOT-RUN", "the profile does not require it; no object was seen$")


@pytest.mark.requirement("T5")
def test_a_retraining_continues_from_the_newest_checkpoint_before_it() -> None:
    def t5(*before: Event) -> Finding:
        events = journal(*before, *attempt(1, "FAIL"), retrained(0, 5e-4), *attempt(2), *FINAL)
        return by_id(retraining(events, RETRY, 0.03))["T5"]

    holds(t5(ended("dynamics", updates=50)), "PASS", "1 retraining")
    holds(t5(ended("dynamics")), "PASS", "1 retraining")  # an older journal does not record the updates
    holds(t5(ended("dynamics", updates=80), ended("dynamics", updates=50)), "PASS", "1 retraining")
    holds(t5(ended("video_tokenizer", updates=80)), "PASS", "1 retraining")
    for updates in (49, 51):
        said = f"retry 1 continued from update 50, but the newest dynamics checkpoint has {updates} updates"
        holds(t5(ended("dynamics", updates=updates)), "FAIL", said)


@pytest.mark.requirement("C4")
def test_the_agreement_of_the_checkpoints_is_the_recorded_check_of_the_last_attempt() -> None:
    def checked(verdict: str, **checkpoints: str) -> Event:
        return event(
            "checkpoints_checked",
            checks=[{"id": "C4", "verdict": verdict, "reason": "embed_dim"}],
            checkpoints=checkpoints,
        )

    passed = journal(checked("FAIL"), checked("PASS", dynamics="d" * 64), *attempt(1))
    unknown = (
        r"sizes agree; the checkpoints that dynamics was trained on are unknown \(dynamics dddddddddddd\): embed_dim"
    )
    holds(agreement(passed), "PASS", unknown)
    lineage = [f"d was trained on {one} (SHA-256 eeeeeeeeeeee…)" for one in ("t", "l")]
    passed[1]["checks"] += [{"id": "C4", "verdict": "PASS", "reason": reason} for reason in lineage]
    holds(agreement(passed), "PASS", r"sizes and lineage agree \(dynamics dddddddddddd\): embed_dim")
    holds(agreement(journal(checked("PASS"), checked("FAIL"), *attempt(1))), "FAIL", "embed_dim")
    apart = {"id": "C4", "verdict": "INVALID", "reason": "another tokenizer"}
    holds(agreement(journal(checked("PASS"), *attempt(1, conditions=[apart]))), "INVALID", "another tokenizer")
    holds(agreement(NOTHING), "NOT-RUN", "inference was not run")
    with pytest.raises(MissingFactError):
        agreement(journal(*attempt(1)))
