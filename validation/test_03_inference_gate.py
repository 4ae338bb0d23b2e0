"""The inference gate with retraining, and what follows from its verdict (C4, L6–L8, G1–G9, T5, T7, H3).

pytest validation/ -m smoke -k inference_gate
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tinyworlds_gate.gate.attempt_record import InferenceAttempt
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


@pytest.mark.retrain_on_failure
@pytest.mark.parametrize("id", [pytest.param("G5", marks=pytest.mark.requirement("G5"))])
def test_the_rollout_passes_the_inference_gate(
    id: str, closed_loop: ClosedLoop, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    """While the gate does not pass, `conftest.py` retrains dynamics and runs this test again on the new checkpoint."""
    history = [
        f"{attempt.name} (dynamics checkpoint {attempt.checkpoints['dynamics'].path.name}): {attempt.verdict.sentence}"
        for attempt in closed_loop.attempts
    ]
    if closed_loop.retrain_problem is not None:
        history.append(closed_loop.retrain_problem)
    history.append(f"the inference log: {closed_loop.context.layout.relative(inference.log)}")
    row_holds(id, history=history)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("G1", marks=pytest.mark.requirement("G1")),
        pytest.param("G2", marks=pytest.mark.requirement("G2")),
        pytest.param("G3", marks=pytest.mark.requirement("G3")),
        pytest.param("G4", marks=pytest.mark.requirement("G4")),
    ],
)
def test_the_inference_run_gave_the_evidence_of_the_gate(
    id: str, closed_loop: ClosedLoop, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id, history=[f"the inference log: {closed_loop.context.layout.relative(inference.log)}"])


@pytest.mark.parametrize("id", [pytest.param("G6", marks=pytest.mark.requirement("G6"))])
def test_small_moving_objects_are_generated(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("G7", marks=pytest.mark.requirement("G7"))])
def test_the_rollout_depends_on_the_frames_that_it_was_given(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("G8", marks=pytest.mark.requirement("G8"))])
def test_the_rollout_is_better_than_every_prediction_without_a_model(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("G9", marks=pytest.mark.requirement("G9"))])
def test_the_model_is_compared_with_the_baseline(
    id: str, closed_loop: ClosedLoop, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    """With `--baseline FILE`; `--fail-on worse` and `--require-better` make it a condition."""
    closed_loop.compare_with_baseline()
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("C4", marks=pytest.mark.requirement("C4"))])
def test_the_checkpoints_agree_with_the_configs_and_with_each_other(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("L6", marks=pytest.mark.requirement("L6")),
        pytest.param("L7", marks=pytest.mark.requirement("L7")),
    ],
)
def test_every_inference_run_finished_and_was_judged(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("T5", marks=pytest.mark.requirement("T5")),
        pytest.param("T7", marks=pytest.mark.requirement("T7")),
        pytest.param("L8", marks=pytest.mark.requirement("L8")),
    ],
)
def test_a_failed_gate_led_to_the_specified_retraining(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("H3", marks=pytest.mark.requirement("H3"))])
def test_training_is_complete_only_with_a_passed_gate(
    id: str, inference: InferenceAttempt, row_holds: Callable[..., None]
) -> None:
    row_holds(id)
