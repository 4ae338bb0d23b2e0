"""Findings on the retune rules, from journals of real plans and of a ladder broken on purpose (T1–T4, T6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from tests.helpers.finding_events import NOTHING, STAGES, Event, by_id, event, failed, finished, holds, journal, started
from tinyworlds_gate.findings.retuning import retunes
from tinyworlds_gate.stages.retune import Cause, ChunkParams, Retune, plan_retune

TOKENIZER, ACTIONS, DYNAMICS = STAGES
START = ChunkParams(batch_size_per_gpu=8, gradient_accumulation_steps=2, learning_rate=1e-3, log_interval=2000)
CASES = [
    ("T1", DYNAMICS, "out_of_memory"),
    ("T1", TOKENIZER, "runtime_error"),
    ("T1", ACTIONS, "timeout"),
    ("T1", DYNAMICS, "setup_error"),
    ("T2", TOKENIZER, "stage_gate"),
    ("T3", ACTIONS, "stage_gate"),
    ("T4", DYNAMICS, "stage_gate"),
    ("T6", DYNAMICS, "guard"),
    ("T6", TOKENIZER, "killed"),
    ("T6", ACTIONS, "node_lost"),
    ("T6", TOKENIZER, "missing_evidence"),
]
IDS = ("T1", "T2", "T3", "T4", "T6")


def retuned(
    stage: str, cause: str, params: ChunkParams = START, broken: Callable[[ChunkParams], ChunkParams] | None = None
) -> list[Event]:
    """A failed chunk, the retune that the loop's own planner makes of it, and the next chunk on its parameters."""
    plan = plan_retune(stage, cast(Cause, cause), params, retries_used=0, max_train_retries=5, nproc_per_node=2)
    if broken is not None:
        plan = replaced(plan, params, broken(plan.params))
    before = {"event": "chunk_finished", "failure": {"cause": cause}} if cause != "stage_gate" else None
    return [
        started(1, stage, params=vars(params)),
        *([{**finished(1, stage), **before}] if before else [finished(1, stage)]),
        event(
            "retune",
            id=plan.id,
            stage=stage,
            chunk=1,
            cause=f"{cause}: it happened",
            changes={key: list(pair) for key, pair in plan.changes.items()},
            effective_batch=list(plan.effective_batch),
            proceed=plan.proceed,
            reason=plan.reason,
        ),
        started(2, stage, params=vars(plan.params)),
    ]


def replaced(plan: Retune, old: ChunkParams, new: ChunkParams) -> Retune:
    pairs = {key: (value, getattr(new, key)) for key, value in vars(old).items()}
    return replace(plan, params=new, changes={key: pair for key, pair in pairs.items() if pair[0] != pair[1]})


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
def test_without_a_retune_no_rule_had_an_occasion() -> None:
    found = by_id(retunes(NOTHING))
    assert tuple(found) == IDS
    assert {(one.verdict, one.reason) for one in found.values()} == {("NOT-RUN", "no occasion: nothing was retuned")}
    assert all(one.had_no_occasion for one in found.values())
    holds(by_id(retunes(journal(*retuned(DYNAMICS, "guard"))))["T2"], "NOT-RUN", "nothing was retuned by T2")


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
@pytest.mark.parametrize(("id", "stage", "cause"), CASES)
def test_the_planned_retunes_follow_the_numbers_of_the_specification(id: str, stage: str, cause: str) -> None:
    found = by_id(retunes(journal(*retuned(stage, cause))))
    holds(found.pop(id), "PASS", rf"1 retune\(s\) by the rule .*chunk 1 \({stage}\)")
    assert {one.verdict for one in found.values()} == {"NOT-RUN"}


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
@pytest.mark.parametrize(("id", "stage", "cause"), CASES)
def test_a_ladder_that_multiplies_the_rate_by_three_fails_its_rule(id: str, stage: str, cause: str) -> None:
    def tripled(params: ChunkParams) -> ChunkParams:
        return replace(params, learning_rate=params.learning_rate * 3)

    holds(by_id(retunes(journal(*retuned(stage, cause, broken=tripled))))[id], "FAIL", "learning_rate .*requires")


@pytest.mark.requirement("T2", "T3", "T4")
@pytest.mark.parametrize(
    ("id", "stage", "params", "floor"),
    [
        ("T2", TOKENIZER, replace(START, log_interval=900), "log_interval 900 → 500"),
        ("T3", ACTIONS, replace(START, log_interval=400), "log_interval 400 → 250"),
        (
            "T4",
            DYNAMICS,
            replace(START, gradient_accumulation_steps=1, log_interval=300),
            "learning_rate 0.001 → 0.0002",
        ),
    ],
)
def test_the_floors_of_accumulation_and_log_interval_are_held_and_named(
    id: str, stage: str, params: ChunkParams, floor: str
) -> None:
    found = by_id(retunes(journal(*retuned(stage, "stage_gate", params))))[id]
    holds(found, "PASS", floor)
    assert "floor" in found.reason

    def below(new: ChunkParams) -> ChunkParams:
        return replace(new, log_interval=new.log_interval // 2)

    holds(by_id(retunes(journal(*retuned(stage, "stage_gate", params, below))))[id], "FAIL", "log_interval")


@pytest.mark.requirement("T1")
def test_the_batch_is_halved_down_to_one_and_not_below() -> None:
    for batch, expected in ((3, 1), (2, 1)):
        events = journal(*retuned(DYNAMICS, "runtime_error", replace(START, batch_size_per_gpu=batch)))
        holds(by_id(retunes(events))["T1"], "PASS", f"batch_size_per_gpu {batch} → {expected}")
    again = journal(*retuned(DYNAMICS, "runtime_error", replace(START, batch_size_per_gpu=1)))
    holds(by_id(retunes(again))["T1"], "PASS", r"chunk 1 \(dynamics\): nothing")
    gave_up = journal(*retuned(DYNAMICS, "out_of_memory", replace(START, batch_size_per_gpu=1))[:3])
    holds(by_id(retunes(gave_up))["T1"], "PASS", "gave up: Out of memory at batch_size_per_gpu 1")


@pytest.mark.requirement("T1", "T2", "T4", "T6")
def test_a_retune_under_another_rule_fails_both() -> None:
    chunk, done, planned, following = retuned(TOKENIZER, "stage_gate")
    found = by_id(retunes(journal(chunk, done, {**planned, "id": "T4"}, following)))
    for id in ("T2", "T4"):
        holds(found[id], "FAIL", "is recorded as T4, but stage_gate: it happened requires T2")


@pytest.mark.requirement("T1", "T6")
def test_the_next_chunk_must_use_what_the_retune_set() -> None:
    chunk, done, planned, following = retuned(DYNAMICS, "out_of_memory")
    unchanged = {**following, "params": vars(START)}
    holds(by_id(retunes(journal(chunk, done, planned, unchanged)))["T1"], "FAIL", "used batch_size_per_gpu 8, not 4")
    later = [event("dynamics_retrain", retry=0, learning_rate=5e-4), unchanged]
    holds(by_id(retunes(journal(chunk, done, planned, *later)))["T1"], "PASS", "1 retune")


@pytest.mark.requirement("T1", "T6")
def test_a_failed_chunk_that_is_tried_again_without_a_retune_fails_its_rule() -> None:
    def again(cause: str) -> list[Event]:
        return journal(started(1, DYNAMICS), finished(1, DYNAMICS, **failed(cause)), started(2, DYNAMICS))

    holds(
        by_id(retunes(again("runtime_error")))["T1"], "FAIL", r"chunk 1 \(dynamics\) failed \(runtime_error\) and the"
    )
    holds(by_id(retunes(again("killed")))["T6"], "FAIL", "without a retune")
    holds(by_id(retunes(again("disk_full")))["T1"], "NOT-RUN", "no occasion")


@pytest.mark.requirement("T6")
@pytest.mark.parametrize(("stands", "verdict"), [(True, "NOT-RUN"), (False, "FAIL")])
def test_a_chunk_whose_device_evidence_a_probe_gave_needs_no_retune(stands: bool, verdict: str) -> None:
    probe = event("device_probe", chunk=1, stage=DYNAMICS, dual_gpu_ok=True, stands_for_chunk=stands)
    events = journal(started(1, DYNAMICS), finished(1, DYNAMICS, **failed("guard")), probe, started(2, DYNAMICS))
    assert by_id(retunes(events))["T6"].verdict == verdict


@pytest.mark.requirement("T1")
def test_a_retune_that_gave_up_must_set_nothing() -> None:
    chunk, done, planned, _ = retuned(DYNAMICS, "out_of_memory")
    gave_up = {**planned, "proceed": False}
    holds(by_id(retunes(journal(chunk, done, gave_up)))["T1"], "FAIL", "gave up, but changed batch_size_per_gpu 8 → 4")
    holds(by_id(retunes(journal(chunk, done, {**gave_up, "changes": {}})))["T1"], "PASS", "1 retune")
    holds(by_id(retunes(journal(planned)))["T1"], "FAIL", "follows no chunk of the journal")


@pytest.mark.requirement("T1", "T4", "H7")
def test_the_chunk_that_a_retune_was_made_for_is_the_stage_s_next_one() -> None:
    chunk, done, planned, following = retuned(DYNAMICS, "out_of_memory")
    between = [
        event("interrupted", signal="SIGTERM"),
        event("stage_gate", stage=DYNAMICS, decision="retune"),
        started(8, TOKENIZER, params=vars(START)),
    ]
    holds(by_id(retunes(journal(chunk, done, planned, *between, following)))["T1"], "PASS", "1 retune")
    wrong = started(2, DYNAMICS, params=vars(START))
    said = r"chunk 2 \(dynamics\) after the retune after chunk 1 \(dynamics\) used batch_size_per_gpu 8, not 4"
    holds(by_id(retunes(journal(chunk, done, planned, *between, wrong, following)))["T1"], "FAIL", said)
    holds(by_id(retunes(journal(chunk, done, planned, *between)))["T1"], "PASS", "1 retune")
    retrained = event("dynamics_retrain", retry=0, learning_rate=5e-4)
    holds(by_id(retunes(journal(chunk, done, planned, retrained, wrong)))["T1"], "PASS", "1 retune")
    of_tokenizer = retuned(TOKENIZER, "out_of_memory")[:3]
    wrong = started(2, TOKENIZER, params=vars(START))
    holds(by_id(retunes(journal(*of_tokenizer, retrained, wrong)))["T1"], "FAIL", "used batch_size_per_gpu 8, not 4")
