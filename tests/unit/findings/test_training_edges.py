"""Limits, missing fields and whole sentences of the findings on training.

pytest tests/unit/findings/test_training_edges.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import (
    NOTHING,
    STAGES,
    Event,
    by_id,
    ended,
    event,
    failed,
    finished,
    gated,
    good_chunk,
    good_training,
    journal,
    started,
)
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.training import (
    absolute_steps,
    channels,
    chunk_checkpoints,
    decision_by_rule,
    defaults,
    degraded,
    parameters,
    stage_gate,
    stage_order,
    thresholds_named,
)

TOKENIZER, ACTIONS, DYNAMICS = STAGES
ALL = [*good_chunk(1, TOKENIZER), *good_chunk(2, ACTIONS), *good_chunk(3, DYNAMICS)]


def is_(found: Finding, verdict: str, reason: str) -> None:
    """Assert the verdict and the whole reason."""
    assert (found.verdict, found.reason) == (verdict, reason)


LIMITS = {
    "S1": {"continue_loss": 0.25, "late_over_middle": 2.0, "watch_loss": 0.5},
    "S2": {"continue_loss": 0.25, "watch_loss": 0.5, "min_unique_actions": 4, "min_action_entropy_nats": 0.5},
    "S3": {
        **{"diverged_loss": 4.0, "continue_late_over_middle": 1.5, "continue_rise": 0.25, "continue_loss": 0.25},
        **{"watch_late_over_middle": 2.0, "watch_rise": 0.5},
    },
}
FIELDS = {
    "S1": ("final_loss", "late_mean", "middle_mean"),
    "S2": ("final_loss", "late_mean", "middle_mean", "unique_actions", "action_entropy_nats"),
    "S3": ("final_loss", "late_mean", "middle_mean", "rise"),
}


@pytest.mark.requirement("S1", "S2", "S3")
@pytest.mark.parametrize(
    ("id", "measures", "decision"),
    [
        ("S1", (0.25, 1.0, 0.5), "continue"),
        ("S1", (0.25, 1.125, 0.5), "watch"),
        ("S1", (0.375, 1.0, 0.5), "watch"),
        ("S1", (0.5, 9.0, 0.5), "watch"),
        ("S1", (0.625, 1.0, 0.5), "retune"),
        ("S2", (0.25, 9.0, 0.5, 4, 0.5), "continue"),
        ("S2", (0.25, 9.0, 0.5, 3, 0.5), "retune"),
        ("S2", (0.25, 9.0, 0.5, 4, 0.375), "watch"),
        ("S2", (0.5, 9.0, 0.5, 4, 0.5), "watch"),
        ("S2", (0.625, 9.0, 0.5, 4, 0.5), "retune"),
        ("S3", (0.25, 0.75, 0.5, 0.25), "continue"),
        ("S3", (0.25, 0.875, 0.5, 0.25), "watch"),
        ("S3", (0.25, 0.75, 0.5, 0.375), "watch"),
        ("S3", (0.375, 0.75, 0.5, 0.25), "watch"),
        ("S3", (0.25, 1.0, 0.5, 0.5), "watch"),
        ("S3", (0.25, 1.125, 0.5, 0.5), "retune"),
        ("S3", (0.25, 1.0, 0.5, 0.625), "retune"),
        ("S3", (4.0, 0.625, 0.5, 0.25), "retune"),
        ("S3", (4.0, 0.5, 0.5, 0.25), "watch"),
        ("S3", (3.875, 0.625, 0.5, 0.25), "watch"),
    ],
)
def test_a_gate_decides_by_its_recorded_measures_up_to_each_limit(
    id: str, measures: tuple[float, ...], decision: str
) -> None:
    gate: Event = {"id": id, "measures": dict(zip(FIELDS[id], measures, strict=True)), "thresholds": LIMITS[id]}
    assert decision_by_rule(gate) == decision
    unrecorded = {name: None for name in FIELDS[id]}
    for lacking in ({"decision": "invalid"}, {"measures": unrecorded}, {"measures": None}, {"thresholds": None}):
        assert decision_by_rule({**gate, **lacking}) is None


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(
    ("gate", "verdict", "said"),
    [
        ({"decision": "watch"}, "INVALID", "the gate recorded watch, but its measures and thresholds require continue"),
        ({"decision": "continue"}, "PASS", "continue"),
        ({"decision": "continue", "measures": {}}, "PASS", "continue"),
        ({"decision": "invalid", "measures": {}}, "FAIL", "invalid"),
    ],
)
def test_a_recorded_decision_must_follow_from_its_measures(gate: dict[str, Any], verdict: str, said: str) -> None:
    measures = {"final_loss": 0.25, "late_mean": 1.0, "middle_mean": 0.5}
    one = gated(1, TOKENIZER, **{"measures": measures, "thresholds": LIMITS["S1"], **gate})
    events = journal(started(1, TOKENIZER), one)
    is_(stage_gate(events, TOKENIZER), verdict, f"video_tokenizer: {said}: the loss is low")


@pytest.mark.requirement("S1", "S2", "S3")
def test_a_stage_that_had_reached_its_target_has_no_occasion_and_the_last_gate_decides() -> None:
    complete = journal(ended(DYNAMICS, "NOT-RUN", reason="at its target"))
    is_(stage_gate(complete, DYNAMICS), "NOT-RUN", "no occasion: dynamics: at its target")
    is_(stage_gate(complete, ACTIONS), "NOT-RUN", "latent_actions was not trained in this run")
    twice = journal(started(1, ACTIONS), gated(1, ACTIONS, "retune"), *good_chunk(2, ACTIONS))
    is_(stage_gate(twice, ACTIONS), "PASS", "latent_actions: continue: the loss is low")
    again = journal(*twice, ended(ACTIONS, "FAIL", reason="spent"), ended(ACTIONS))
    is_(stage_gate(again, ACTIONS), "PASS", "latent_actions: continue: the loss is low")


@pytest.mark.requirement("L5")
@pytest.mark.parametrize(("verdict", "found"), [("PASS", "FAIL"), ("DEGRADED", "FAIL"), ("FAIL", "PASS")])
def test_a_stage_that_passed_needs_a_decision_of_its_gate(verdict: str, found: str) -> None:
    events = journal(started(1, TOKENIZER), ended(TOKENIZER, verdict), *good_chunk(2, ACTIONS))
    problem = "video_tokenizer finished without a decision of its gate"
    trained = "trained in order, each with its gate: video_tokenizer → latent_actions"
    is_(stage_order(events), found, problem if found == "FAIL" else trained)


def test_the_first_end_of_a_stage_is_compared_with_the_start_of_the_next() -> None:
    events = journal(*good_chunk(1, TOKENIZER), ended(TOKENIZER), *good_chunk(2, ACTIONS), ended(TOKENIZER))
    assert stage_order(events).verdict == "PASS"


@pytest.mark.requirement("S4")
def test_a_chunk_that_did_not_count_hides_no_later_one_and_each_problem_is_named() -> None:
    events = journal(
        started(1, DYNAMICS),
        finished(1, DYNAMICS, **failed("out_of_memory")),
        finished(2, DYNAMICS, exit_code=7, checkpoint=None, final_loss=None, visualization=None, channels=None),
        gated(2, DYNAMICS),
    )
    name = "chunk 2 (dynamics) reached its gate"
    is_(
        chunk_checkpoints(events),
        "FAIL",
        f"{name} with exit code 7; {name} without a fresh picture; {name} without a finite loss",
    )
    late = journal(started(1, DYNAMICS), finished(1, DYNAMICS, checkpoint={"step": 0}), gated(1, DYNAMICS))
    is_(
        chunk_checkpoints(late),
        "FAIL",
        "chunk 1 (dynamics) reached its gate with checkpoint update 0, expected 9",
    )


@pytest.mark.requirement("S5")
def test_the_thresholds_of_the_artifact_check_are_none() -> None:
    profile = {stage: {"continue_loss": 0.01} for stage in STAGES}
    events = journal(gated(1, DYNAMICS, id="S4", thresholds=None), gated(2, DYNAMICS))
    is_(thresholds_named(events, profile), "PASS", "2 stage gate(s) used the profile's thresholds")


def retune(**changes: Any) -> Event:
    fields = {"id": "T1", "stage": DYNAMICS, "chunk": 1, "changes": {"batch_size_per_gpu": [8, 4]}}
    return event("retune", **{**fields, "effective_batch": [32, 16], **changes})


def retrain(**changes: Any) -> Event:
    return event("dynamics_retrain", **{"retry": 0, "learning_rate": 5e-4, "from_update": 1, "to_update": 2, **changes})


@pytest.mark.requirement("H9")
@pytest.mark.parametrize(
    ("events", "verdict", "reason"),
    [
        (
            [
                retune(effective_batch=None),
                retune(id="T2", chunk=99, effective_batch=[1, 2]),
                retune(id="T3", effective_batch=[32, 8]),
            ],
            "FAIL",
            "the retune T1 after chunk 1 (dynamics) does not state the effective batch; the retune T3 after chunk 1 "
            "(dynamics) states the effective batch [32, 8], but its parameters give [32, 16]",
        ),
        ([retune(effective_batch=[32])], "FAIL", "the retune T1 after chunk 1 (dynamics) does not state the "
        "effective batch"),
        (
            [retune(changes=None, effective_batch=[32, 32])],
            "PASS",
            "1 retune(s) and 0 retraining(s); effective batch: dynamics 32",
        ),
        *(
            ([retrain(**{gone: None})], "FAIL", "the retraining after retry 0 does not state its learning rate and "
            "updates")
            for gone in ("learning_rate", "from_update", "to_update")
        ),
        (
            [retrain(), retrain(learning_rate=1e-4)],
            "PASS",
            "0 retune(s) and 2 retraining(s) at learning rate 0.0005, 0.0001; effective batch: dynamics 32",
        ),
    ],
)  # fmt: skip
def test_what_a_retune_and_a_retraining_must_state(events: list[Event], verdict: str, reason: str) -> None:
    is_(by_id(parameters(journal(started(1, DYNAMICS), *events)))["H9"], verdict, reason)


def test_a_wrong_effective_batch_is_the_cause_of_h9() -> None:
    found = by_id(parameters(journal(started(1, DYNAMICS, effective_batch=16, nnodes=2), retune())))
    text = "chunk 1 (dynamics): effective batch 16, but batch 8 × accumulation 2 × 2 workers × 2 node(s) is 64"
    is_(found["P2"], "FAIL", text)
    is_(found["H9"], "FAIL", f"follows from P2: {text}")


@pytest.mark.requirement("P1", "P2")
def test_parameters_follow_the_retunes_that_were_carried_out() -> None:
    half = {**started(1, DYNAMICS)["params"], "batch_size_per_gpu": 4}
    two = [started(1, DYNAMICS), started(2, DYNAMICS, params=half, effective_batch=16), started(3, ACTIONS)]
    found = by_id(parameters(journal(two[0], retune(), two[1], started(3, ACTIONS), two[1])))
    is_(found["P2"], "PASS", "effective batch of 4 chunk(s): latent_actions 32, dynamics 32 → 16")
    is_(found["P1"], "PASS", "4 chunk(s) used the resolved values; learning rates from profile smoke, as their "
        "histories show")  # fmt: skip
    stopped = by_id(parameters(journal(two[0], retune(proceed=False), two[0])))
    assert stopped["P1"].verdict == "PASS"
    bare = {key: value for key, value in half.items() if key == "learning_rate"} | half
    table = {"stages.dynamics.batch_size_per_gpu": {"value": 8}, "stages.dynamics.log_interval": {"value": 7}}
    resolved = event("settings_resolved", settings=table)
    noted = finished(1, DYNAMICS, problems=None, notes=["the learning rate of update 3 was 0.1", "no picture"])
    is_(
        by_id(parameters(journal(resolved, started(1, DYNAMICS, params=bare, effective_batch=16), noted)))["P1"],
        "FAIL",
        "chunk 1 (dynamics): batch_size_per_gpu was 4, but 8 was resolved; chunk 1 (dynamics): log_interval was 5, but "
        "7 was resolved; chunk 1 (dynamics): the learning rate of update 3 was 0.1",
    )
    sources = {**dict.fromkeys(started(1, DYNAMICS)["param_sources"], "a"), "learning_rate": "b"}
    origins = by_id(parameters(journal(started(1, DYNAMICS), started(2, DYNAMICS, param_sources=sources))))["P1"]
    assert origins.reason.endswith("learning rates from profile smoke, b, as their histories show")


@pytest.mark.requirement("M1", "M3")
def test_a_channel_names_what_moved_what_was_not_due_and_what_was_not_written() -> None:
    limit = {**finished(1, DYNAMICS)["channels"], "M3": {"verdict": "NOT-RUN", "reason": "none drawn"}}
    events = journal(
        *(started(1, DYNAMICS), finished(1, DYNAMICS, channels=limit), gated(1, DYNAMICS)),
        *(started(2, DYNAMICS, 10, 20), finished(2, DYNAMICS, 20), gated(2, DYNAMICS)),
    )
    is_(
        by_id(channels(events))["M3"],
        "PASS",
        "updated in 1 chunk(s); last: M3 moved; not due: chunk 1 (dynamics): none drawn",
    )
    is_(by_id(channels(events))["M1"], "PASS", "updated in 2 chunk(s); last: M1 moved")
    unwritten = journal(finished(1, DYNAMICS, channels=None), gated(1, DYNAMICS))
    is_(by_id(channels(unwritten))["M3"], "INVALID", "chunk 1 (dynamics): not journalled")
    is_(by_id(channels(NOTHING))["M1"], "NOT-RUN", "no chunk counted in this run")


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    ("events", "verdict", "reason"),
    [
        (
            journal(*good_chunk(1, DYNAMICS), started(2, DYNAMICS, 8, 20), started(3, ACTIONS, 1, 2)),
            "FAIL",
            "chunk 2 (dynamics) started at update 8, but the stage was at update 10",
        ),
        (
            journal(started(1, DYNAMICS, 1, 10), started(2, DYNAMICS, 1, 10)),
            "PASS",
            "2 chunk(s); continued at the absolute update: chunk 1 (dynamics) at update 1, chunk 2 (dynamics) at "
            "update 1",
        ),
        (journal(*ALL), "NOT-RUN", "no occasion: every stage was one chunk from update 0, so nothing was resumed"),
        (
            journal(started(1, DYNAMICS), finished(1, DYNAMICS, **failed()), started(2, DYNAMICS)),
            "NOT-RUN",
            "no occasion: every chunk started from new weights, so nothing was resumed",
        ),
    ],
)
def test_absolute_steps_in_a_sentence(events: list[Event], verdict: str, reason: str) -> None:
    is_(absolute_steps(events), verdict, reason)


def with_options(*events: Event, settings: dict[str, Any] | None = None, **options: Any) -> list[Event]:
    table = {f"options.{name}": {"value": value} for name, value in (settings or {}).items()}
    return journal(event("run_started", options=options), event("settings_resolved", settings=table), *events)


COMPLETE = ended(TOKENIZER, "NOT-RUN", reason="at its target")


@pytest.mark.requirement("H1", "H2")
@pytest.mark.parametrize(
    ("events", "id", "verdict", "reason"),
    [
        (
            with_options(*ALL, settings={"train_stage": "dynamics"}),
            *("H1", "FAIL", "no option was given, but train_stage is dynamics"),
        ),
        (with_options(COMPLETE, *ALL[3:]), "H1", "NOT-RUN", "no occasion: video_tokenizer: at its target"),
        (with_options(COMPLETE, *ALL[6:]), "H1", "NOT-RUN", "the run stopped before video_tokenizer"),
        (
            with_options(*ALL[3:], event("inference_started")),
            *("H1", "FAIL", "inference ran, but video_tokenizer was not trained"),
        ),
        (
            with_options(*ALL[3:], event("inference_started"), video_checkpoint="x"),
            *("H1", "NOT-RUN", "the run stopped before video_tokenizer"),
        ),
        (
            with_options(*ALL[6:], event("inference_started"), latent_checkpoint="x"),
            *("H1", "FAIL", "inference ran, but video_tokenizer was not trained"),
        ),
        (
            with_options(*ALL, settings={"train_stage": "all"}),
            *("H1", "PASS", "all three stages were trained: video_tokenizer, latent_actions, dynamics"),
        ),
        (
            with_options(*ALL, settings={"checkpoint_policy": "latest"}),
            *("H2", "FAIL", "no option was given, but checkpoint_policy is latest"),
        ),
        (
            with_options(*ALL, checkpoint_policy="latest", latent_checkpoint="x", dynamics_checkpoint="y"),
            *("H2", "NOT-RUN", "set by option: --checkpoint-policy latest, --latent-checkpoint x, "
              "--dynamics-checkpoint y"),
        ),
        (
            with_options(*ALL[3:], started(9, DYNAMICS, 5, 10), settings={"checkpoint_policy": "fresh"}),
            *("H2", "PASS", "the first chunk of latent_actions, dynamics had new weights"),
        ),
    ],
)  # fmt: skip
def test_defaults_in_a_sentence(events: list[Event], id: str, verdict: str, reason: str) -> None:
    is_(by_id(defaults(events))[id], verdict, reason)


@pytest.mark.requirement("H8")
@pytest.mark.parametrize(
    ("events", "verdict", "reason"),
    [
        ([ended(DYNAMICS, degraded=True)], "DEGRADED", "dynamics fell to batch_size_per_gpu 1: out of memory"),
        ([], "DEGRADED", "dynamics fell to batch_size_per_gpu 1: out of memory"),
        (
            [ended(DYNAMICS), ended(ACTIONS, degraded=True)],
            "FAIL",
            "dynamics fell to batch_size_per_gpu 1, but the run is not marked degraded",
        ),
    ],
)
def test_a_fall_to_one_clip_is_marked_once_its_stage_has_ended(events: list[Event], verdict: str, reason: str) -> None:
    fall = retune(changes={"batch_size_per_gpu": [2, 1]}, cause="out of memory")
    is_(degraded(journal(started(1, DYNAMICS), retune(changes=None), fall, *events)), verdict, reason)
    uncaused = degraded(journal(started(1, DYNAMICS), {**fall, "cause": None}, ended(DYNAMICS, degraded=True)))
    is_(uncaused, "FAIL", "dynamics fell to batch_size_per_gpu 1, and its cause is not recorded")
    rest = degraded(good_training())
    is_(rest, "NOT-RUN", "no occasion: no stage fell to batch_size_per_gpu 1")
