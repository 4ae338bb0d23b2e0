"""T1–T7: the ladders step by step, their floors, and their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.config.schema import STAGE_SCHEMAS
from tinyworlds_gate.stages.retune import (
    LEARNING_RATE_FLOOR,
    RUNTIME_CAUSES,
    Cause,
    ChunkParams,
    Retune,
    plan_inference_retry,
    plan_retune,
    should_retrain,
)

START = ChunkParams(batch_size_per_gpu=8, gradient_accumulation_steps=2, learning_rate=1e-3, log_interval=2500)
RETRY = RetryPlanConfig()


def retune(stage: str, cause: Cause, params: ChunkParams = START, **changes: Any) -> Retune:
    keywords: dict[str, Any] = {"retries_used": 0, "max_train_retries": 5, "nproc_per_node": 2, **changes}
    return plan_retune(stage, cause, params, **keywords)


def climb(stage: str, cause: Cause, steps: int) -> list[ChunkParams]:
    """The parameters after each of some retunes in a row."""
    params, seen = START, []
    for used in range(steps):
        params = retune(stage, cause, params, retries_used=used, max_train_retries=steps).params
        seen.append(params)
    return seen


@pytest.mark.requirement("T1")
@pytest.mark.parametrize("stage", list(STAGE_SCHEMAS))
@pytest.mark.parametrize("cause", ["out_of_memory", "runtime_error", "timeout"])
def test_a_runtime_failure_halves_the_batch_to_one(stage: str, cause: Cause) -> None:
    steps = climb(stage, cause, 4)
    assert [step.batch_size_per_gpu for step in steps] == [4, 2, 1, 1]
    assert {(step.gradient_accumulation_steps, step.learning_rate, step.log_interval) for step in steps} == {
        (2, 1e-3, 2500)
    }


@pytest.mark.requirement("T1")
def test_an_odd_batch_is_halved_downwards() -> None:
    assert retune("dynamics", "out_of_memory", ChunkParams(3, 1, 1e-3, 500)).params.batch_size_per_gpu == 1


@pytest.mark.requirement("T1")
def test_out_of_memory_at_the_floor_gives_up_with_the_reason() -> None:
    answer = retune("dynamics", "out_of_memory", ChunkParams(1, 1, 1e-3, 500))
    assert not answer.proceed
    assert "a smaller model or more memory is needed" in answer.reason


@pytest.mark.requirement("T1")
@pytest.mark.parametrize("cause", ["runtime_error", "timeout"])
def test_another_runtime_failure_at_the_floor_is_tried_again(cause: Cause) -> None:
    answer = retune("dynamics", cause, ChunkParams(1, 1, 1e-3, 500))
    assert (answer.id, answer.proceed, answer.changes) == ("T1", True, {})


@pytest.mark.requirement("T2", "T3", "T4")
@pytest.mark.parametrize(
    ("stage", "rule", "rates", "accumulations", "intervals"),
    [
        ("video_tokenizer", "T2", [5e-4, 2.5e-4, 1.25e-4], [3, 4, 5], [1250, 625, 500]),
        ("latent_actions", "T3", [8e-4, 6.4e-4, 5.12e-4], [2, 2, 2], [1250, 625, 312]),
        ("dynamics", "T4", [2e-4, 4e-5, 8e-6], [1, 1, 1], [1250, 625, 500]),
    ],
)
def test_a_gate_failure_climbs_its_stage_s_ladder(
    stage: str, rule: str, rates: list[float], accumulations: list[int], intervals: list[int]
) -> None:
    steps = climb(stage, "stage_gate", 3)
    assert [step.learning_rate for step in steps] == pytest.approx(rates)
    assert [step.gradient_accumulation_steps for step in steps] == accumulations
    assert [step.log_interval for step in steps] == intervals
    assert {step.batch_size_per_gpu for step in steps} == {8}
    assert retune(stage, "stage_gate").id == rule


@pytest.mark.requirement("T2", "T3", "T4")
@pytest.mark.parametrize(
    ("stage", "before", "after"),
    [
        ("video_tokenizer", 600, 500),
        ("video_tokenizer", 500, 500),
        ("video_tokenizer", 100, 100),
        ("latent_actions", 400, 250),
        ("latent_actions", 250, 250),
        ("latent_actions", 7, 7),
        ("dynamics", 1000, 500),
        ("dynamics", 999, 500),
        ("dynamics", 1003, 501),
        ("dynamics", 499, 499),
    ],
)
def test_the_log_interval_falls_to_its_floor_and_never_rises(stage: str, before: int, after: int) -> None:
    assert retune(stage, "stage_gate", ChunkParams(8, 2, 1e-3, before)).params.log_interval == after


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("stage", list(STAGE_SCHEMAS))
def test_a_guard_failure_touches_nothing(stage: str) -> None:
    answer = retune(stage, "guard")
    assert (answer.id, answer.proceed, answer.params, answer.changes) == ("T6", True, START, {})


@pytest.mark.requirement("P2", "H9")
@pytest.mark.parametrize(
    ("stage", "cause", "before", "after"),
    [
        ("video_tokenizer", "stage_gate", 32, 48),
        ("latent_actions", "stage_gate", 32, 32),
        ("dynamics", "stage_gate", 32, 16),
        ("dynamics", "out_of_memory", 32, 16),
        ("dynamics", "guard", 32, 32),
    ],
)
def test_the_effective_batch_before_and_after_is_always_reported(
    stage: str, cause: Cause, before: int, after: int
) -> None:
    assert retune(stage, cause).effective_batch == (before, after)


@pytest.mark.requirement("P2", "H9")
def test_changes_name_old_and_new_of_what_changed_only() -> None:
    assert retune("video_tokenizer", "stage_gate").changes == {
        "learning_rate": (1e-3, 5e-4),
        "gradient_accumulation_steps": (2, 3),
        "log_interval": (2500, 1250),
    }


@pytest.mark.requirement("H8")
@pytest.mark.parametrize(("batch", "degraded"), [(4, False), (3, True), (2, True), (1, False)])
def test_falling_to_a_batch_of_one_is_degraded(batch: int, degraded: bool) -> None:
    assert retune("dynamics", "runtime_error", ChunkParams(batch, 1, 1e-3, 500)).degraded is degraded


@pytest.mark.requirement("H8")
def test_a_batch_of_one_that_a_person_chose_is_not_degraded() -> None:
    assert not retune("dynamics", "stage_gate", ChunkParams(1, 1, 1e-3, 500)).degraded


@pytest.mark.parametrize("cause", ["out_of_memory", "runtime_error", "timeout", "stage_gate", "guard"])
def test_a_spent_budget_gives_up_and_changes_nothing(cause: Cause) -> None:
    answer = retune("dynamics", cause, retries_used=5)
    assert (answer.proceed, answer.params, answer.changes, answer.degraded) == (False, START, {}, False)
    assert "dynamics was retuned 5 times (--max-train-retries 5)" in answer.reason


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="'tokenizer' is no stage"):
        retune("tokenizer", "stage_gate")


@pytest.mark.requirement("P1")
def test_the_answer_fits_the_settings_it_is_written_into() -> None:
    before = resolve_settings("longrun", {}, project_root=REPOSITORY)
    params = ChunkParams.of(before.stages["dynamics"])
    answer = retune("dynamics", "stage_gate", params)
    after = before.with_retune("dynamics", answer.changes, f"retune {answer.id}")
    assert ChunkParams.of(after.stages["dynamics"]) == answer.params
    assert after.source_of("dynamics", "learning_rate") == "retune T4"
    assert (before.effective_batch("dynamics"), after.effective_batch("dynamics")) == answer.effective_batch


PARAMS = st.builds(
    ChunkParams,
    batch_size_per_gpu=st.integers(1, 4096),
    gradient_accumulation_steps=st.integers(1, 64),
    learning_rate=st.floats(min_value=1e-12, max_value=1.0),
    log_interval=st.integers(1, 100_000),
)
EVERY_CAUSE: tuple[Cause, ...] = get_args(Cause)
"""All that the ladder knows, those included that were added after these tests."""
CAUSES = st.sampled_from(EVERY_CAUSE)
UNTOUCHING = st.sampled_from([cause for cause in EVERY_CAUSE if cause in ("guard", "killed")])
"""T6: nothing is wrong with the knobs when a guard fails or someone kills a worker."""
STAGE = st.sampled_from(list(STAGE_SCHEMAS))
WORKERS, NODES = st.integers(1, 16), st.integers(1, 8)


def product(params: ChunkParams, workers: int, nodes: int) -> int:
    """P2, written out."""
    return params.batch_size_per_gpu * params.gradient_accumulation_steps * workers * nodes


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6", "H9")
@settings(max_examples=200, deadline=None)
@given(params=PARAMS, stage=STAGE, budget=st.integers(0, 30), workers=WORKERS, nodes=NODES, data=st.data())
def test_every_ladder_respects_its_floors_reports_every_change_and_ends_within_the_budget(
    params: ChunkParams, stage: str, budget: int, workers: int, nodes: int, data: st.DataObject
) -> None:
    """The causes never stop coming: only the ladder can end this loop."""
    floor = {"latent_actions": 250}.get(stage, 500)
    tries = 0
    while True:
        cause = data.draw(CAUSES)
        answer = retune(
            stage,
            cause,
            params,
            retries_used=tries,
            max_train_retries=budget,
            nproc_per_node=workers,
            nodes=nodes,
        )
        new = answer.params
        assert new.batch_size_per_gpu >= 1
        assert new.gradient_accumulation_steps >= 1
        assert min(params.learning_rate, LEARNING_RATE_FLOOR) <= new.learning_rate <= params.learning_rate
        assert min(params.log_interval, floor) <= new.log_interval <= params.log_interval
        assert answer.effective_batch == (product(params, workers, nodes), product(new, workers, nodes))
        assert replayed(params, answer.changes) == new
        assert all(old != changed for old, changed in answer.changes.values())
        assert answer.degraded is (new.batch_size_per_gpu == 1 < params.batch_size_per_gpu)
        assert answer.reason.endswith((".", ")."))
        if not answer.proceed:
            assert new == params
            break
        params, tries = new, tries + 1
        assert tries <= budget


@pytest.mark.requirement("T1")
@settings(max_examples=100, deadline=None)
@given(params=PARAMS, stage=STAGE, cause=st.sampled_from(RUNTIME_CAUSES))
def test_a_runtime_failure_turns_the_batch_and_nothing_else(params: ChunkParams, stage: str, cause: Cause) -> None:
    answer = retune(stage, cause, params)
    assert answer.id == "T1"
    assert answer.params.batch_size_per_gpu == max(1, params.batch_size_per_gpu // 2)
    assert set(answer.changes) <= {"batch_size_per_gpu"}


@pytest.mark.requirement("T2", "T3", "T4")
@settings(max_examples=100, deadline=None)
@given(params=PARAMS, stage=STAGE)
def test_a_gate_failure_never_turns_the_batch_of_a_gpu_and_lowers_the_rate_to_its_floor(
    params: ChunkParams, stage: str
) -> None:
    new = retune(stage, "stage_gate", params).params
    assert new.batch_size_per_gpu == params.batch_size_per_gpu
    assert new.learning_rate < params.learning_rate or params.learning_rate <= LEARNING_RATE_FLOOR


@pytest.mark.requirement("T6")
@settings(max_examples=100, deadline=None)
@given(params=PARAMS, stage=STAGE, cause=UNTOUCHING)
def test_what_is_no_fault_of_the_training_changes_no_knob(params: ChunkParams, stage: str, cause: Cause) -> None:
    answer = retune(stage, cause, params)
    assert (answer.params, answer.changes, answer.proceed, answer.degraded) == (params, {}, True, False)
    assert answer.effective_batch[0] == answer.effective_batch[1]


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
@settings(max_examples=100, deadline=None)
@given(params=PARAMS, stage=STAGE, cause=CAUSES, used=st.integers(0, 5), budget=st.integers(0, 5))
def test_the_plan_is_a_function_of_its_arguments_and_leaves_them_as_they_are(
    params: ChunkParams, stage: str, cause: Cause, used: int, budget: int
) -> None:
    before = vars(params).copy()
    answers = [retune(stage, cause, params, retries_used=used, max_train_retries=budget) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert vars(params) == before
    # How often it was tried decides whether to go on, never what to try.
    fresh = retune(stage, cause, params, retries_used=0, max_train_retries=1)
    assert answers[0].params == (fresh.params if used < budget else params)


def replayed(params: ChunkParams, changes: Mapping[str, tuple[float, float]]) -> ChunkParams:
    """The parameters with the reported changes made."""
    return ChunkParams(**{**vars(params), **{key: new for key, (_, new) in changes.items()}})


@pytest.mark.requirement("T1")
@settings(max_examples=60, deadline=None)
@given(params=PARAMS, stage=STAGE)
def test_running_out_of_memory_ends_without_a_budget(params: ChunkParams, stage: str) -> None:
    tries = 0
    while (answer := retune(stage, "out_of_memory", params, retries_used=0)).proceed:
        params, tries = answer.params, tries + 1
        assert tries <= 12
    assert params.batch_size_per_gpu == 1


@pytest.mark.requirement("T5")
def test_retries_raise_the_target_and_lower_the_rate() -> None:
    target, plans = 4000, []
    for k in range(3):
        plan = plan_inference_retry(k, target, target, RETRY)
        if plan is None:
            break
        plans.append((plan.retry, plan.from_update, plan.to_update, plan.learning_rate))
        target = plan.to_update
    assert plans == [(0, 4000, 6000, 5e-4), (1, 6000, 8000, pytest.approx(3.5e-4))]


@pytest.mark.requirement("T5")
def test_a_retry_continues_from_the_newest_valid_checkpoint() -> None:
    plan = plan_inference_retry(0, 3500, 4000, RETRY)
    assert plan is not None
    assert (plan.from_update, plan.to_update) == (3500, 6000)


@pytest.mark.requirement("T5")
def test_the_retry_rate_stops_at_its_floor() -> None:
    plan = plan_inference_retry(9, 10, 10, RetryPlanConfig(max=10, lr_floor=1e-4))
    assert plan is not None
    assert plan.learning_rate == 1e-4


@pytest.mark.requirement("T5")
@pytest.mark.parametrize(("k", "budget"), [(0, 0), (2, 2), (7, 2)])
def test_a_spent_retry_budget_has_no_plan(k: int, budget: int) -> None:
    assert plan_inference_retry(k, 10, 10, RetryPlanConfig(max=budget)) is None


@pytest.mark.requirement("T5")
def test_a_checkpoint_beyond_the_retry_is_refused() -> None:
    with pytest.raises(ValueError, match="has 6000 updates already, the retry's target is 6000"):
        plan_inference_retry(0, 6000, 4000, RETRY)


@pytest.mark.requirement("T5")
def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="counts must not be negative"):
        plan_inference_retry(-1, 0, 1, RETRY)


RETRIES = st.builds(
    lambda chunk, budget, decay, floor, above: RetryPlanConfig(
        chunk=chunk, max=budget, lr_decay=decay, lr_floor=floor, init_learning_rate=min(1.0, floor * above)
    ),
    chunk=st.integers(1, 10**5),
    budget=st.integers(0, 20),
    decay=st.floats(0.01, 1.0),
    floor=st.floats(1e-7, 1e-3),
    above=st.floats(1.0, 1000.0),
)


@pytest.mark.requirement("T5")
@settings(max_examples=100, deadline=None)
@given(start=st.integers(1, 10**6), behind=st.integers(0, 1000), retry=RETRIES)
def test_retries_end_within_the_budget_and_the_rate_falls_from_its_start_to_its_floor(
    start: int, behind: int, retry: RetryPlanConfig
) -> None:
    rates: list[float] = []
    target, done = start, max(0, start - behind)
    while (plan := plan_inference_retry(len(rates), done, target, retry)) is not None:
        assert plan == plan_inference_retry(len(rates), done, target, retry)
        assert (plan.retry, plan.from_update, plan.to_update) == (len(rates), done, target + retry.chunk)
        done = target = plan.to_update
        rates.append(plan.learning_rate)
        assert len(rates) <= retry.max
    assert len(rates) == retry.max
    assert rates == sorted(rates, reverse=True)
    assert all(retry.lr_floor <= rate <= retry.init_learning_rate for rate in rates)
    assert rates[:1] == [retry.init_learning_rate][: retry.max]


@pytest.mark.requirement("T5")
@pytest.mark.parametrize(
    ("k", "rate"), [(0, 5e-4), (1, 5e-4 * 0.7), (2, 5e-4 * 0.7**2), (17, 5e-4 * 0.7**17), (18, 1e-6), (100, 1e-6)]
)
def test_the_retry_rate_is_the_first_times_the_decay_to_the_k_with_a_floor(k: int, rate: float) -> None:
    """closed-loop.md: retry_init 0.0005, decay 0.7, floor 1e-6 by default."""
    plan = plan_inference_retry(k, 10, 10, RetryPlanConfig(max=101))
    assert plan is not None
    assert plan.learning_rate == pytest.approx(rate, rel=1e-12)


@pytest.mark.requirement("T5")
@pytest.mark.parametrize(("from_update", "target"), [(-1, 1), (0, 0), (0, -5)])
def test_counts_that_cannot_be_are_refused(from_update: int, target: int) -> None:
    with pytest.raises(ValueError, match="counts must not be negative"):
        plan_inference_retry(0, from_update, target, RETRY)


@pytest.mark.requirement("T5")
def test_a_checkpoint_one_update_before_the_retry_s_end_is_still_trained_on() -> None:
    plan = plan_inference_retry(0, 5999, 4000, RETRY)
    assert plan is not None
    assert (plan.from_update, plan.to_update) == (5999, 6000)


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    ("floor", "retrain"),
    [(0.0, True), (0.03, True), (0.0301, False), (0.5, False), (math.nan, False), (math.inf, False)],
)
def test_dynamics_is_not_retrained_on_a_poor_tokenizer(floor: float, retrain: bool) -> None:
    decision = should_retrain(floor, 0.03)
    assert decision.allowed is retrain
    assert ("Improve the tokenizer first, then retrain latent actions and dynamics" in decision.reason) is not retrain


@pytest.mark.requirement("T7")
def test_an_unmeasured_tokenizer_is_said_to_be_so() -> None:
    decision = should_retrain(None, 0.03)
    assert decision.allowed
    assert "was not measured" in decision.reason


@pytest.mark.requirement("T7")
@settings(max_examples=200, deadline=None)
@given(
    floor=st.none() | st.floats(min_value=0.0, allow_infinity=True) | st.just(math.nan),
    max_mse=st.floats(min_value=1e-6, max_value=1.0),
)
def test_only_a_tokenizer_that_is_known_to_be_too_poor_stops_the_retraining(
    floor: float | None, max_mse: float
) -> None:
    decision = should_retrain(floor, max_mse)
    assert decision == should_retrain(floor, max_mse)
    assert decision.allowed is (floor is None or floor <= max_mse)
    assert decision.reason.endswith(".")


@pytest.mark.requirement("T7")
def test_the_sentence_of_a_poor_tokenizer_names_both_errors() -> None:
    reason = should_retrain(0.046, 0.03).reason
    assert "reconstruction error 0.046 is above 0.03" in reason
    assert "no dynamics model on it can pass" in reason


@pytest.mark.requirement("T1")
@pytest.mark.parametrize("stage", list(STAGE_SCHEMAS))
def test_an_error_that_no_batch_mends_keeps_the_batch_for_its_second_try(stage: str) -> None:
    answer = retune(stage, "setup_error")
    assert (answer.id, answer.proceed, answer.params, answer.changes) == ("T1", True, START, {})


@pytest.mark.requirement("S4", "T6")
def test_missing_evidence_of_a_training_that_ended_normally_touches_nothing() -> None:
    answer = retune("dynamics", "missing_evidence")
    assert (answer.id, answer.proceed, answer.params, answer.changes) == ("T6", True, START, {})


@pytest.mark.requirement("T1", "H6")
@pytest.mark.parametrize("cause", ["runtime_error", "setup_error", "guard", "missing_evidence"])
def test_a_hopeless_try_is_not_made_whatever_the_budget_is(cause: Cause) -> None:
    answer = retune("dynamics", cause, hopeless="it came twice")
    assert (answer.proceed, answer.reason, answer.changes, answer.params) == (False, "it came twice", {}, START)
