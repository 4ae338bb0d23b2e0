"""The rules of retuning at their floors, in whole sentences. ``pytest tests/unit/findings/test_retuning_edges.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import STAGES, Event, by_id, event, failed, finished, journal, started
from tinyworlds_gate.findings.retuning import RULES, required_rule, retunes

TOKENIZER, ACTIONS, DYNAMICS = STAGES
PARAMS = {"batch_size_per_gpu": 8, "gradient_accumulation_steps": 2, "learning_rate": 1e-3, "log_interval": 2000}


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
@pytest.mark.parametrize(
    ("id", "old", "new"),
    [
        ("T1", {"batch_size_per_gpu": 8}, {"batch_size_per_gpu": 4}),
        ("T1", {"batch_size_per_gpu": 3}, {"batch_size_per_gpu": 1}),
        ("T1", {"batch_size_per_gpu": 1}, {"batch_size_per_gpu": 1}),
        ("T2", {}, {"learning_rate": 5e-4, "gradient_accumulation_steps": 3, "log_interval": 1000}),
        ("T2", {"log_interval": 999}, {"learning_rate": 5e-4, "gradient_accumulation_steps": 3, "log_interval": 500}),
        ("T2", {"log_interval": 400}, {"learning_rate": 5e-4, "gradient_accumulation_steps": 3, "log_interval": 400}),
        ("T2", {"learning_rate": 1e-9}, {"gradient_accumulation_steps": 3, "log_interval": 1000}),
        ("T2", {"learning_rate": 1.5e-9},
         {"learning_rate": 1e-9, "gradient_accumulation_steps": 3, "log_interval": 1000}),
        ("T2", {"learning_rate": 4e-9},
         {"learning_rate": 2e-9, "gradient_accumulation_steps": 3, "log_interval": 1000}),
        ("T2", {"learning_rate": 5e-10}, {"gradient_accumulation_steps": 3, "log_interval": 1000}),
        ("T3", {}, {"learning_rate": 8e-4, "log_interval": 1000}),
        ("T3", {"log_interval": 400}, {"learning_rate": 8e-4, "log_interval": 250}),
        ("T4", {}, {"learning_rate": 2e-4, "gradient_accumulation_steps": 1, "log_interval": 1000}),
        ("T4", {"gradient_accumulation_steps": 1}, {"learning_rate": 2e-4, "log_interval": 1000}),
        ("T6", {}, {}),
    ],
)  # fmt: skip
def test_what_each_rule_makes_of_the_parameters(id: str, old: dict[str, float], new: dict[str, float]) -> None:
    before = PARAMS | old
    assert RULES[id][0](before) == pytest.approx(before | new, rel=1e-12)


@pytest.mark.parametrize(
    ("cause", "stage", "id"),
    [
        *((cause, TOKENIZER, "T1") for cause in ("out_of_memory", "runtime_error", "timeout", "setup_error")),
        *((cause, TOKENIZER, "T6") for cause in ("guard", "killed", "node_lost", "missing_evidence")),
        *(("stage_gate", stage, id) for stage, id in zip(STAGES, ("T2", "T3", "T4"), strict=True)),
        *(("stage_gate", "other", None), ("disk_full", DYNAMICS, None), (None, DYNAMICS, None)),
        ("stage_gate: the loss rises: fast", DYNAMICS, "T4"),
    ],
)
def test_the_rule_of_a_retune_follows_from_its_cause_and_stage(cause: str | None, stage: str, id: str | None) -> None:
    assert required_rule({"cause": cause, "stage": stage}) == id


def retune(**changes: Any) -> Event:
    fields = {"id": "T1", "stage": DYNAMICS, "chunk": 1, "cause": "out_of_memory: x", "proceed": True}
    return event("retune", **{**fields, "changes": {"batch_size_per_gpu": [8, 4]}, **changes})


def run(one: Event, *after: Event, **params: Any) -> list[Event]:
    return journal(started(1, DYNAMICS, params=PARAMS | params), finished(1, DYNAMICS), one, *after)


WHERE = "the retune after chunk 1 (dynamics)"
HALF = "T1 requires batch_size_per_gpu 8 → 4 (batch_size_per_gpu / 2, floor 1)"
SHOWN = "1 retune(s) by the rule (batch_size_per_gpu / 2, floor 1): chunk 1 (dynamics):"


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    ("events", "verdict", "reason"),
    [
        (run(retune()), "PASS", f"{SHOWN} batch_size_per_gpu 8 → 4"),
        (run(retune(changes=None), batch_size_per_gpu=1), "PASS", f"{SHOWN} nothing"),
        (run(retune(cause="setup_error: y", changes={})), "PASS", f"{SHOWN} nothing"),
        (run(retune(proceed=False, changes=None, reason="no")), "PASS", f"{SHOWN} gave up: no"),
        (run(retune(changes={})), "FAIL", f"{WHERE} set nothing, but {HALF}"),
        (run(retune(changes={"batch_size_per_gpu": [8, 3]})), "FAIL", f"{WHERE} set batch_size_per_gpu 8 → 3, but "
        f"{HALF}"),
        (
            run(retune(changes={"batch_size_per_gpu": [8, 4], "log_interval": [2000, 1000]})),
            *("FAIL", f"{WHERE} set batch_size_per_gpu 8 → 4, log_interval 2000 → 1000, but {HALF}"),
        ),
        (run(retune(proceed=False)), "FAIL", f"{WHERE} gave up, but changed batch_size_per_gpu 8 → 4"),
        (
            run(retune(id="T1", cause="disk_full: z")),
            *("FAIL", f"{WHERE} is recorded as T1, but disk_full: z requires no rule"),
        ),
        (journal(retune(chunk=9)), "FAIL", "the retune after chunk 9 (dynamics) follows no chunk of the journal"),
        (
            run(retune(), started(2, DYNAMICS, params=PARAMS | {"log_interval": 7})),
            "FAIL",
            f"chunk 2 (dynamics) after {WHERE} used batch_size_per_gpu 8, not 4; chunk 2 (dynamics) after {WHERE} used "
            "log_interval 7, not 2000",
        ),
    ],
)  # fmt: skip
def test_a_retune_in_a_sentence(events: list[Event], verdict: str, reason: str) -> None:
    found = by_id(retunes(events))["T1"]
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.requirement("T1", "T2")
def test_rules_that_did_not_apply_and_failures_without_a_retune() -> None:
    assert by_id(retunes(run(retune())))["T2"].reason == "no occasion: nothing was retuned by T2"
    fell = [
        started(1, DYNAMICS),
        finished(1, DYNAMICS, **failed("timeout")),
        finished(2, TOKENIZER, **failed("killed")),
    ]
    found = by_id(retunes(journal(*fell, started(3, DYNAMICS), started(4, TOKENIZER))))
    without = "failed ({}) and the next chunk began without a retune"
    assert found["T1"].reason == f"chunk 1 (dynamics) {without.format('timeout')}"
    assert found["T6"].reason == f"chunk 2 (video_tokenizer) {without.format('killed')}"
    answered = [*fell[:2], retune(cause="timeout"), started(3, DYNAMICS, params=PARAMS)]
    assert "without a retune" not in by_id(retunes(journal(*answered)))["T1"].reason
    retrained = by_id(retunes(journal(*fell[:2], event("dynamics_retrain"), started(3, DYNAMICS))))
    assert retrained["T1"].reason == "no occasion: nothing was retuned"
    of_tokenizer = by_id(retunes(journal(fell[2], event("dynamics_retrain"), started(3, TOKENIZER))))
    assert of_tokenizer["T6"].verdict == "FAIL"
