"""Findings on chunks, gates, parameters and channels, each at least once PASS, FAIL, INVALID or NOT-RUN."""

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
    holds,
    journal,
    started,
)
from tinyworlds_gate.findings.training import (
    absolute_steps,
    channels,
    chunk_checkpoints,
    defaults,
    degraded,
    parameters,
    stage_gate,
    stage_order,
    thresholds_named,
)

TOKENIZER, ACTIONS, DYNAMICS = STAGES


@pytest.mark.requirement("L5")
@pytest.mark.parametrize(
    ("events", "verdict", "said"),
    [
        (good_training(), "PASS", "trained in order, each with its gate: video_tokenizer → latent_actions → dynamics"),
        (NOTHING, "NOT-RUN", "no chunk was trained in this run"),
        (
            journal(*good_chunk(1, TOKENIZER), *good_chunk(2, ACTIONS), ended(TOKENIZER)),
            "FAIL",
            "latent_actions started before video_tokenizer had finished",
        ),
        (journal(*good_chunk(1, ACTIONS), *good_chunk(2, DYNAMICS)), "FAIL", "dynamics started before latent_actions"),
        (
            journal(*good_chunk(1, DYNAMICS), ended(DYNAMICS), *good_chunk(2, TOKENIZER), ended(TOKENIZER)),
            "FAIL",
            "dynamics started before video_tokenizer had finished",
        ),
    ],
)
def test_the_order_of_the_stages(events: list[Event], verdict: str, said: str) -> None:
    holds(stage_order(events), verdict, said)


@pytest.mark.requirement("S1", "S2", "S3")
@pytest.mark.parametrize(
    ("stage", "events", "verdict", "said"),
    [
        (TOKENIZER, good_training(), "PASS", "video_tokenizer: continue: the loss is low"),
        (ACTIONS, NOTHING, "NOT-RUN", "latent_actions was not trained in this run"),
        (
            DYNAMICS,
            journal(started(1, DYNAMICS), finished(1, DYNAMICS)),
            "FAIL",
            "no chunk reached the stage gate",
        ),
        (
            DYNAMICS,
            journal(started(1, DYNAMICS), gated(1, DYNAMICS, "retune", reason="the loss rises")),
            "FAIL",
            "dynamics: retune: the loss rises",
        ),
        (
            ACTIONS,
            journal(started(1, ACTIONS), gated(1, ACTIONS, "watch"), ended(ACTIONS)),
            "PASS",
            "latent_actions: watch: the loss is low",
        ),
        (
            ACTIONS,
            journal(*good_chunk(1, ACTIONS), ended(ACTIONS, "FAIL", reason="the budget is spent")),
            "FAIL",
            "latent_actions: the budget is spent",
        ),
        (
            TOKENIZER,
            journal(*good_chunk(1, TOKENIZER), ended(TOKENIZER, "DEGRADED", degraded=True)),
            "DEGRADED",
            "video_tokenizer: continue",
        ),
    ],
)
def test_the_gate_of_a_stage(stage: str, events: list[Event], verdict: str, said: str) -> None:
    found = stage_gate(events, stage)
    assert found.id == {TOKENIZER: "S1", ACTIONS: "S2", DYNAMICS: "S3"}[stage]
    holds(found, verdict, said)


def judged_chunk(**changes: Any) -> list[Event]:
    return journal(started(1, DYNAMICS), finished(1, DYNAMICS, **changes), gated(1, DYNAMICS))


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    ("events", "verdict", "said"),
    [
        (good_training(), "PASS", r"4 of 4 chunk\(s\) counted, each with a verified checkpoint"),
        (NOTHING, "NOT-RUN", "no chunk was trained"),
        (
            judged_chunk(exit_code=1),
            "FAIL",
            r"chunk 1 \(dynamics\) reached its gate with exit code 1",
        ),
        (judged_chunk(checkpoint=None), "FAIL", "its gate with checkpoint update None, expected 9"),
        (judged_chunk(checkpoint={"step": 4}), "FAIL", "its gate with checkpoint update 4, expected 9"),
        (judged_chunk(visualization=None), "FAIL", "its gate without a fresh picture"),
        (judged_chunk(final_loss=None), "FAIL", "its gate without a finite loss"),
        (
            journal(started(1, DYNAMICS), finished(1, DYNAMICS, exit_code=1, cause="runtime_error", checkpoint=None)),
            "FAIL",
            r"follows from S3: none of 1 chunk\(s\) counted",
        ),
        (
            journal(
                started(1, DYNAMICS),
                finished(1, DYNAMICS, exit_code=1, cause="out_of_memory", checkpoint=None),
                *good_chunk(2, DYNAMICS),
            ),
            "PASS",
            r"1 of 2 chunk\(s\) counted",
        ),
    ],
)
def test_a_chunk_that_counted_has_its_artifacts(events: list[Event], verdict: str, said: str) -> None:
    holds(chunk_checkpoints(events), verdict, said)


@pytest.mark.requirement("S5")
def test_the_thresholds_of_each_gate_are_those_of_the_profile() -> None:
    profile = {stage: {"continue_loss": 0.01} for stage in STAGES}
    holds(thresholds_named(good_training(), profile), "PASS", r"4 stage gate\(s\) used the profile's thresholds")
    holds(thresholds_named(NOTHING, profile), "NOT-RUN", "no stage gate was reached")
    other = profile | {ACTIONS: {"continue_loss": 0.5}}
    holds(thresholds_named(good_training(), other), "FAIL", r"chunk 3 \(latent_actions\) used other thresholds")
    unnamed = journal(started(1, DYNAMICS), gated(1, DYNAMICS, thresholds=None))
    holds(thresholds_named(unnamed, profile), "FAIL", r"chunk 1 \(dynamics\) used other thresholds")


HALF = {"batch_size_per_gpu": 4, "gradient_accumulation_steps": 2, "learning_rate": 1e-3, "log_interval": 5}


def halved(effective_batch: list[int]) -> Event:
    fields = {"id": "T1", "stage": DYNAMICS, "chunk": 1, "cause": "out_of_memory: x"}
    return event("retune", changes={"batch_size_per_gpu": [8, 4]}, effective_batch=effective_batch, **fields)


def retrained(rate: float | None) -> Event:
    return event("dynamics_retrain", retry=0, learning_rate=rate, from_update=10, to_update=20)


def resolved(**values: float) -> Event:
    table = {f"stages.{DYNAMICS}.{key}": {"value": value, "source": "profile"} for key, value in values.items()}
    return event("settings_resolved", settings=table)


@pytest.mark.requirement("P1", "P2", "H9")
@pytest.mark.parametrize(
    ("events", "id", "verdict", "said"),
    [
        (
            good_training(),
            "P1",
            "PASS",
            r"4 chunk\(s\) used the resolved values; learning rates from profile smoke, as their histories show",
        ),
        (
            good_training(),
            "P2",
            "PASS",
            r"effective batch of 4 chunk\(s\): video_tokenizer 32, latent_actions 32, dynamics 32",
        ),
        (good_training(), "H9", "NOT-RUN", "no occasion: nothing was retuned or retrained"),
        (NOTHING, "P1", "NOT-RUN", "no chunk was trained"),
        (NOTHING, "P2", "NOT-RUN", "no chunk was trained"),
        (NOTHING, "H9", "NOT-RUN", "no chunk was trained"),
        (
            journal(started(1, DYNAMICS, param_sources={"learning_rate": "profile"})),
            "P1",
            "FAIL",
            r"chunk 1 \(dynamics\): the origin of batch_size_per_gpu is missing",
        ),
        (
            journal(
                started(1, DYNAMICS),
                finished(1, DYNAMICS, problems=["the learning rate of update 3 was 0.1, but 0.001 was resolved"]),
            ),
            "P1",
            "FAIL",
            "the learning rate of update 3 was 0.1",
        ),
        (
            journal(started(1, DYNAMICS, effective_batch=16)),
            "P2",
            "FAIL",
            r"effective batch 16, but batch 8 × accumulation 2 × 2 workers × 1 node\(s\) is 32",
        ),
        (
            journal(started(1, DYNAMICS), event("retune", id="T1", stage=DYNAMICS, chunk=1, effective_batch=None)),
            "H9",
            "FAIL",
            r"the retune T1 after chunk 1 \(dynamics\) does not state the effective batch",
        ),
        (
            journal(started(1, DYNAMICS), halved([32, 16]), started(2, DYNAMICS, params=HALF, effective_batch=16)),
            "H9",
            "PASS",
            r"1 retune\(s\) and 0 retraining\(s\); effective batch: dynamics 32 → 16",
        ),
        (
            journal(started(1, DYNAMICS), halved([32, 24])),
            "H9",
            "FAIL",
            r"states the effective batch \[32, 24\], but its parameters give \[32, 16\]",
        ),
        (
            journal(started(1, DYNAMICS), halved([32, 16]), started(2, DYNAMICS)),
            "P1",
            "FAIL",
            r"chunk 2 \(dynamics\): batch_size_per_gpu was 8, but 4 was resolved",
        ),
        (
            journal(resolved(learning_rate=5e-4), started(1, DYNAMICS)),
            "P1",
            "FAIL",
            r"chunk 1 \(dynamics\): learning_rate was 0.001, but 0.0005 was resolved",
        ),
        (
            journal(started(1, DYNAMICS), retrained(5e-4), started(2, DYNAMICS, 10, 20)),
            "P1",
            "FAIL",
            r"chunk 2 \(dynamics\): learning_rate was 0.001, but 0.0005 was resolved",
        ),
        (
            journal(started(1, DYNAMICS), retrained(5e-4)),
            "H9",
            "PASS",
            r"0 retune\(s\) and 1 retraining\(s\) at learning rate 0.0005",
        ),
        (
            journal(started(1, DYNAMICS), retrained(None)),
            "H9",
            "FAIL",
            "does not state its learning rate and updates",
        ),
    ],
)
def test_parameters_and_the_effective_batch(events: list[Event], id: str, verdict: str, said: str) -> None:
    holds(by_id(parameters(events))[id], verdict, said)


def with_channel(id: str, verdict: str) -> list[Event]:
    moved = finished(1, DYNAMICS)["channels"]
    return judged_chunk(channels={**moved, id: {"verdict": verdict, "reason": "stood still"}})


@pytest.mark.requirement("M1", "M2", "M3")
@pytest.mark.parametrize("id", ["M1", "M2", "M3"])
def test_a_channel_that_should_have_moved_and_did_not_is_invalid(id: str) -> None:
    holds(by_id(channels(good_training()))[id], "PASS", rf"updated in 4 chunk\(s\); last: {id} moved")
    holds(by_id(channels(NOTHING))[id], "NOT-RUN", "no chunk counted in this run")
    found = by_id(channels(with_channel(id, "INVALID")))
    holds(found.pop(id), "INVALID", r"chunk 1 \(dynamics\): stood still")
    assert {one.verdict for one in found.values()} == {"PASS"}
    holds(by_id(channels(judged_chunk(channels={})))[id], "INVALID", "not journalled")


@pytest.mark.requirement("M3", "S4")
def test_a_picture_that_was_not_due_is_a_limit_and_no_other_channel_may_say_so() -> None:
    whole = finished(1, DYNAMICS)["channels"]
    limit = {**whole, "M3": {"verdict": "NOT-RUN", "reason": "its final save draws none"}}
    alone = judged_chunk(channels=limit, visualization=None)
    holds(by_id(channels(alone))["M3"], "NOT-RUN", r"no occasion: chunk 1 \(dynamics\): its final save draws none")
    holds(chunk_checkpoints(alone), "PASS", "1 of 1 chunk")
    holds(chunk_checkpoints(judged_chunk(visualization=None)), "FAIL", "without a fresh picture")
    for id in ("M1", "M2"):
        holds(by_id(channels(with_channel(id, "NOT-RUN")))[id], "INVALID", "stood still")


STILL = {**finished(1, DYNAMICS)["channels"], "M3": {"verdict": "INVALID", "reason": "no new picture"}}


def invalid_chunk(chunk: int, stage: str = DYNAMICS, **changes: Any) -> list[Event]:
    """A chunk whose launcher ended well and whose picture did not come: it does not count, and no gate judges it."""
    return [started(chunk, stage), finished(chunk, stage, **{"channels": STILL, **failed(), **changes})]


@pytest.mark.requirement("M1", "M2", "M3")
@pytest.mark.parametrize(
    ("events", "verdict", "said"),
    [
        pytest.param(
            journal(*invalid_chunk(1)),
            "INVALID",
            r"^chunk 1 \(dynamics\): no new picture$",
            id="no chunk counted, for this channel",
        ),
        pytest.param(
            journal(*good_chunk(1, TOKENIZER), ended(TOKENIZER), *invalid_chunk(2, ACTIONS)),
            "INVALID",
            r"^chunk 2 \(latent_actions\): no new picture$",
            id="a stage that counts does not speak for another",
        ),
        pytest.param(
            journal(*good_chunk(1, DYNAMICS), *invalid_chunk(2)),
            "INVALID",
            r"^chunk 2 \(dynamics\)",
            id="an earlier chunk does not speak for a later one",
        ),
        pytest.param(
            journal(*invalid_chunk(1), *good_chunk(2, DYNAMICS)),
            "PASS",
            r"^updated in 1 chunk\(s\); .*; INVALID and trained again: chunk 1 \(dynamics\): no new picture$",
            id="trained again, and said",
        ),
        pytest.param(
            journal(*invalid_chunk(1, exit_code=1, cause="out_of_memory")),
            "NOT-RUN",
            "no chunk counted in this run",
            id="of a chunk that crashed no channel was due",
        ),
    ],
)
def test_an_invalid_chunk_is_never_passed_over(events: list[Event], verdict: str, said: str) -> None:
    holds(by_id(channels(events))["M3"], verdict, said)
    assert by_id(channels(events))["M1"].verdict != "INVALID"


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    ("events", "verdict", "said"),
    [
        (
            good_training(),
            "PASS",
            r"4 chunk\(s\); continued at the absolute update: chunk 2 \(video_tokenizer\) at update 5",
        ),
        (journal(*good_chunk(1, DYNAMICS)), "NOT-RUN", "no occasion: every stage was one chunk from update 0"),
        (NOTHING, "NOT-RUN", "no chunk was trained"),
        (
            journal(*good_chunk(1, DYNAMICS), *good_chunk(2, DYNAMICS, 0, 20)),
            "FAIL",
            r"chunk 2 \(dynamics\) started at update 0, but the stage was at update 10",
        ),
        (
            journal(started(1, DYNAMICS, 5, 10, resumed_from=None)),
            "FAIL",
            r"chunk 1 \(dynamics\) starts at update 5 without a checkpoint to resume",
        ),
        pytest.param(
            journal(
                *good_chunk(1, DYNAMICS),
                started(2, DYNAMICS, 10, 20),
                finished(2, DYNAMICS, 20, problems=["no new picture"], **failed(continue_at=10)),
                *good_chunk(3, DYNAMICS, 10, 20),
            ),
            "PASS",
            r"3 chunk\(s\); continued at the absolute update: chunk 2 \(dynamics\) at update 10, chunk 3",
            id="a chunk that did not count is tried again from where the stage stood",
        ),
        pytest.param(
            journal(
                started(1, DYNAMICS, 0, 10),
                finished(1, DYNAMICS, 10, cause="killed", checkpoint=None, **failed(continue_at=6)),
                *good_chunk(2, DYNAMICS, 6, 10),
            ),
            "PASS",
            "continued",
            id="a failed chunk goes on from the newest checkpoint that it left",
        ),
        pytest.param(
            journal(
                started(1, DYNAMICS, 0, 10),
                finished(1, DYNAMICS, 10, cause="killed", checkpoint=None, **failed(continue_at=6)),
                *good_chunk(2, DYNAMICS, 8, 10),
            ),
            "FAIL",
            "started at update 8, but the stage was at update 6",
            id="updates were skipped after a failed chunk",
        ),
        pytest.param(
            journal(
                started(1, DYNAMICS, 0, 10),
                finished(1, DYNAMICS, 10, cause="interrupted", checkpoint=None, continue_from={"step": 3}),
                *good_chunk(2, DYNAMICS, 4, 10),
            ),
            "PASS",
            "continued",
            id="a chunk that was interrupted is resumed",
        ),
        pytest.param(
            journal(
                *good_chunk(1, DYNAMICS, 0, 10),
                {"event": "checkpoint_refused", "stage": DYNAMICS, "refused": [], "used": {"step": 4}},
                *good_chunk(2, DYNAMICS, 5, 10),
            ),
            "PASS",
            "continued",
            id="a damaged checkpoint is replaced by an older one",
        ),
        pytest.param(
            journal(
                started(1, DYNAMICS, 0, 10),
                finished(1, DYNAMICS, 10, cause="out_of_memory", checkpoint=None, **failed("out_of_memory")),
                *good_chunk(2, DYNAMICS, 0, 10),
            ),
            "NOT-RUN",
            "no occasion: every chunk started from new weights",
            id="after a crash",
        ),
    ],
)
def test_progress_is_absolute(events: list[Event], verdict: str, said: str) -> None:
    holds(absolute_steps(events), verdict, said)


def with_options(*events: Event, **options: Any) -> list[Event]:
    return journal(event("run_started", options=options), *events)


ALL = [*good_chunk(1, TOKENIZER), *good_chunk(2, ACTIONS), *good_chunk(3, DYNAMICS)]


@pytest.mark.requirement("H1", "H2")
@pytest.mark.parametrize(
    ("events", "id", "verdict", "said"),
    [
        (with_options(*ALL), "H1", "PASS", "all three stages were trained"),
        (with_options(*ALL, train_stage="all"), "H1", "PASS", "all three stages were trained"),
        (with_options(train_stage="none"), "H1", "NOT-RUN", "the whole pipeline was not requested"),
        (with_options(*good_chunk(1, TOKENIZER)), "H1", "NOT-RUN", "the run stopped before latent_actions"),
        (
            with_options(*ALL),
            "H2",
            "PASS",
            "the first chunk of video_tokenizer, latent_actions, dynamics had new weights",
        ),
        (with_options(*ALL, checkpoint_policy="fresh"), "H2", "PASS", "had new weights"),
        (with_options(), "H2", "NOT-RUN", "no chunk was trained"),
        (
            with_options(*ALL, video_checkpoint="x"),
            "H2",
            "NOT-RUN",
            "set by option: --video-checkpoint",
        ),
        (with_options(*ALL, checkpoint_policy="latest"), "H2", "NOT-RUN", "set by option: --checkpoint-policy"),
        (with_options(*good_chunk(1, DYNAMICS, 5, 10)), "H2", "FAIL", "dynamics resumed dynamics_step_4"),
    ],
)
def test_the_defaults_are_the_whole_pipeline_from_fresh_weights(
    events: list[Event], id: str, verdict: str, said: str
) -> None:
    holds(by_id(defaults(events))[id], verdict, said)


@pytest.mark.requirement("H8")
@pytest.mark.parametrize(
    ("retuned_to", "marked", "verdict", "said"),
    [
        (None, False, "NOT-RUN", "no occasion: no stage fell to batch_size_per_gpu 1"),
        (2, False, "NOT-RUN", "no stage fell"),
        (1, True, "DEGRADED", "dynamics fell to batch_size_per_gpu 1: out_of_memory: CUDA"),
        (1, False, "FAIL", "dynamics fell to batch_size_per_gpu 1, but the run is not marked degraded"),
    ],
)
def test_a_batch_of_one_is_marked(retuned_to: int | None, marked: bool, verdict: str, said: str) -> None:
    fall = event(
        "retune",
        stage=DYNAMICS,
        cause="out_of_memory: CUDA",
        changes={"batch_size_per_gpu": [2, retuned_to]} if retuned_to else {"learning_rate": [1.0, 0.2]},
    )
    holds(degraded(journal(started(1, DYNAMICS), fall, ended(DYNAMICS, degraded=marked))), verdict, said)


@pytest.mark.requirement("H8")
def test_without_training_nothing_can_be_degraded() -> None:
    holds(degraded(NOTHING), "NOT-RUN", "no chunk was trained")


@pytest.mark.requirement("P2")
@pytest.mark.parametrize(("recorded", "verdict"), [(4, "PASS"), (1, "FAIL")])
def test_the_effective_batch_of_several_nodes_counts_them(recorded: int, verdict: str) -> None:
    """The chunk of one node has its own product; with four nodes the same record must be four times that."""
    one = started(1, DYNAMICS)
    four = {**one, "nnodes": 4, "effective_batch": recorded * one["effective_batch"]}
    assert by_id(parameters([four]))["P2"].verdict == verdict
