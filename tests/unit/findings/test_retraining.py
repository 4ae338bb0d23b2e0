"""Why dynamics was or was not retrained, in whole sentences. ``pytest tests/unit/findings/test_retraining.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, Event, by_id, ended, event, journal, started
from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings.base import Finding, MissingFactError
from tinyworlds_gate.findings.retraining import reconstruction, retraining, retraining_rows, why_not_retrained

RETRY = RetryPlanConfig(chunk=100, init_learning_rate=0.5, lr_decay=0.5, lr_floor=0.125, max=4)
PASSING = [{"id": f"G{rule}", "verdict": "PASS", "reason": "it holds"} for rule in range(1, 6)]


def verdict(word: str = "FAIL", attempt: int = 1, **changes: Any) -> Event:
    fields = {"draw": 1, "sentence": f"{word}: x", "conditions": PASSING, "measures": {"mse": 0.04}}
    return event("gate_verdict", **{"verdict": word, "attempt": attempt, **fields, **changes})


def retrain(rate: float = 0.5, start: int = 50, **changes: Any) -> Event:
    return event(
        "dynamics_retrain",
        **{"retry": 0, "learning_rate": rate, "from_update": start, "to_update": start + 100, **changes},
    )


def trained_by(stage: str) -> Event:
    return event("settings_resolved", settings={"options.train_stage": {"value": stage}})


def own(id: str, word: str) -> dict[str, str]:
    return {"id": id, "verdict": word, "reason": f"{id} {word}"}


@pytest.mark.requirement("L8", "T5")
@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([verdict()], None),
        ([trained_by("all"), verdict()], None),
        ([trained_by("dynamics"), verdict()], None),
        ([trained_by("latent_actions"), verdict()], "no retraining: --train-stage latent_actions trains no dynamics"),
        (
            [verdict(draw=2), retrain(), verdict(attempt=2)],
            "no further retraining: the final verdict was taken, so that no unseen clips are left to judge one",
        ),
        (
            [verdict(conditions=[own("G5.trusted", "NOT-RUN")])],
            "no retraining: the trusted gate is NOT-RUN, so that none can make this run pass",
        ),
        ([verdict(conditions=[own("G5.target", "FAIL")])], None),
        ([verdict(conditions=[own("G5.target", "INVALID")])], "no retraining can mend it: G5.target INVALID"),
        ([verdict(conditions=[own("G1.target", "INVALID")])], None),
        (
            [verdict(conditions=[own("G5.target", "FAIL"), own("G1.target", "FAIL"), own("G4.target", "FAIL")])],
            "no retraining can mend it: G1.target FAIL",
        ),
        ([verdict(), retrain()], "retry 1 was stopped before its training ended"),
        (
            [verdict(), ended("dynamics"), retrain(), ended("latent_actions", reason="b")],
            "retry 1 was stopped before its training ended",
        ),
        (
            [verdict(), retrain(), ended("dynamics", reason="a"), ended("dynamics", reason="spent")],
            "retry 1 did not complete its training: spent",
        ),
        ([verdict(), retrain(), verdict(attempt=2)], None),
        ([verdict(measures={"tokenizer_recon_mse": 0.25})], None),
        (
            [verdict(measures={"tokenizer_recon_mse": 0.251})],
            "no retraining: the tokenizer's own reconstruction error 0.251 is above max_mse 0.25 (T7)",
        ),
        (
            [verdict(measures={"tokenizer_recon_mse": float("nan")})],
            "no retraining: the tokenizer's own reconstruction error nan is above max_mse 0.25 (T7)",
        ),
        ([*[retrain()] * 3, verdict()], None),
        ([*[retrain()] * 4, verdict()], "the budget of 4 retries is spent (--max-inference-retries)"),
        ([*[retrain()] * 5, verdict()], "the budget of 4 retries is spent (--max-inference-retries)"),
        ([event("interrupted", reason="SIGTERM"), verdict()], None),
        ([verdict(), event("interrupted", reason="SIGTERM")], "no retraining: the run was interrupted (SIGTERM)"),
    ],
)
def test_why_dynamics_was_not_retrained(events: list[Event], why: str | None) -> None:
    assert why_not_retrained(journal(*events), RETRY, 0.25) == why


@pytest.mark.requirement("T7")
def test_a_reconstruction_error_is_a_number() -> None:
    assert [reconstruction({"measures": {"tokenizer_recon_mse": value}}) for value in (2, 0.5, "a", None)] == [
        *(2.0, 0.5, None, None)
    ]
    assert reconstruction({"measures": None}) is None


FOLLOWS = started(5, "dynamics", 50, 150)


def chunk(rate: float = 0.5, start: int = 50, **changes: Any) -> Event:
    return {**started(5, "dynamics", start, 150), "params": {**FOLLOWS["params"], "learning_rate": rate}, **changes}


@pytest.mark.requirement("T5")
@pytest.mark.parametrize(
    ("events", "word", "reason"),
    [
        ([verdict("PASS")], "NOT-RUN", "no occasion: the gate passed at its first attempt, so nothing was retrained"),
        ([verdict()], "NOT-RUN", "no occasion: nothing was retrained: it was due"),
        (
            [
                *(verdict(), retrain(0.5), verdict(), retrain(0.25, 150), verdict(), retrain(0.125, 250), verdict()),
                *(retrain(0.125, 350), verdict()),
            ],
            "PASS",
            "4 retraining(s) from the newest checkpoint: to update 150 at learning rate 0.5, to update 250 at learning "
            "rate 0.25, to update 350 at learning rate 0.125, to update 450 at learning rate 0.125",
        ),
        (
            [*[verdict(), retrain(0.5), verdict(), retrain(0.25)], *[retrain(0.125)] * 3],
            "FAIL",
            "retry 5 exceeds the budget of 4",
        ),
        ([verdict("PASS"), retrain()], "FAIL", "retry 1 followed a verdict that passed"),
        ([verdict(), retrain(0.25)], "FAIL", "retry 1 used learning rate 0.25; 0.5 · 0.5^0 is 0.5"),
        (
            [verdict(), retrain(), retrain(0.5)],
            *("FAIL", "retry 2 used learning rate 0.5; 0.5 · 0.5^1 is 0.25"),
        ),
        (
            [verdict(), retrain(to_update=151)],
            *("FAIL", "retry 1 trained to update 151; 50 + one retry chunk of 100 is 150"),
        ),
        ([verdict(), chunk(0.1, 10), retrain(), chunk(), chunk(0.1, 10)], "PASS", "1 retraining(s) from the newest "
         "checkpoint: to update 150 at learning rate 0.5"),
        (
            [verdict(), retrain(), chunk(0.25)],
            *("FAIL", "retry 1 trained at learning rate 0.25, not at the planned 0.5"),
        ),
        (
            [verdict(), retrain(), chunk(resumed_from=None)],
            *("FAIL", "retry 1 began at update 50, not at 50 from the newest checkpoint"),
        ),
        (
            [verdict(), retrain(), chunk(start=49)],
            *("FAIL", "retry 1 began at update 49, not at 50 from the newest checkpoint"),
        ),
        (
            [event("target_described", can={"resumes": False}), verdict(), retrain(), chunk(start=1)],
            *("FAIL", "retry 1 began at update 1, not at 0 from the newest checkpoint"),
        ),
    ],
)  # fmt: skip
def test_a_retraining_is_compared_with_its_plan(events: list[Event], word: str, reason: str) -> None:
    found = by_id(retraining(journal(*events), RETRY, 0.25))["T5"]
    assert (found.verdict, found.reason) == (word, reason)


@pytest.mark.requirement("L8")
def test_the_answer_names_the_verdicts_on_both_sets_of_clips() -> None:
    where = "a second draw that no attempt has seen"
    final = verdict("FAIL", draw=2, measures={"mse": None})
    events = journal(verdict("PASS", attempt=2), verdict("PASS", measures={"mse": 0.03}), final)
    shown = f"verdicts on the attempts' clips and on {where}: PASS (error 0.0300), FAIL (no error was measured)"
    why = "no further retraining: the final verdict was taken, so that no unseen clips are left to judge one"
    told = f"the gate did not pass; 0 retraining(s) after 2 attempt(s); {shown}; {why}"
    assert by_id(retraining(events, RETRY, 0.25))["L8"] == Finding("L8", "FAIL", told)
    evaluated = [event("dataset_ready", evaluation={"sha256": "e"}), verdict("PASS"), verdict("PASS", draw=3)]
    again = [retrain(), verdict("PASS", attempt=2), verdict("PASS", attempt=2, draw=3)]
    on_set = by_id(retraining(journal(*evaluated[:1], verdict(), *again), RETRY, 0.25))["L8"].reason
    assert on_set.endswith("on the evaluation set: PASS (error 0.0400), PASS (error 0.0400)")
    found = by_id(retraining(journal(*evaluated), RETRY, 0.25))["L8"]
    assert found.reason.startswith(
        "no occasion: the first attempt passed; verdicts on the attempts' clips and on the ev"
    )
    broken = verdict(conditions=[own("G1", "FAIL")], measures={"tokenizer_recon_mse": 1})
    found = by_id(retraining(journal(broken), RETRY, 0.25))["L8"]
    assert found.follows_from == "G1"
    assert found.reason.startswith(
        "follows from G1: the gate did not pass; 0 retraining(s) after 1 attempt(s); no retrai"
    )


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    ("events", "word", "reason"),
    [
        ([verdict()], "NOT-RUN", "no occasion: the tokenizer's own reconstruction error was not measured"),
        (
            [verdict(measures={"tokenizer_recon_mse": 0.25})],
            *("NOT-RUN", "no occasion: the tokenizer's own reconstruction error 0.2500 is within max_mse 0.25"),
        ),
        (
            [verdict(measures={"tokenizer_recon_mse": 0.5}), verdict(), retrain()],
            "PASS",
            "dynamics was not retrained: the tokenizer's reconstruction error 0.5000 is above max_mse 0.25; improve "
            "the "
            "tokenizer first",
        ),
        (
            [retrain(), verdict(attempt=3, measures={"tokenizer_recon_mse": 0.5}), retrain(), verdict()],
            "FAIL",
            "dynamics was retrained after attempt 3 although the tokenizer's reconstruction error 0.5000 is above "
            "max_mse "
            "0.25",
        ),
    ],
)
def test_a_poor_tokenizer_ends_retraining(events: list[Event], word: str, reason: str) -> None:
    found = by_id(retraining(journal(*events), RETRY, 0.25))["T7"]
    assert (found.verdict, found.reason) == (word, reason)


def test_the_plan_and_the_limit_are_those_of_the_journal() -> None:
    assert [one.verdict for one in retraining_rows(NOTHING)] == ["NOT-RUN"] * 3
    with pytest.raises(MissingFactError):
        retraining_rows(journal(verdict()))
    settings = {f"profile.retry.{name}": {"value": value, "source": "x"} for name, value in RETRY.model_dump().items()}
    settings["profile.thresholds.max_mse"] = {"value": 0.25, "source": "x"}
    events = journal(event("settings_resolved", settings=settings), verdict())
    assert retraining_rows(events) == retraining(events, RETRY, 0.25)
