"""The inference gate, its answer to a failure, and what followed (C4, L6–L8, G1–G5, T5, T7, H3).

pytest validation/ -m smoke -k inference_gate
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.findings import inference as judged
from tinyworlds_gate.findings.base import Finding, finding

if TYPE_CHECKING:
    from tinyworlds_gate.gate.attempt import InferenceAttempt
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


@pytest.mark.requirement("C4")
def test_the_checkpoints_agree_with_the_configs_and_with_each_other(
    closed_loop: ClosedLoop, inference: InferenceAttempt, findings_of: Callable[..., None]
) -> None:
    problems = [told for _, holds, told in closed_loop.checkpoint_findings() if not holds]
    digests = ", ".join(f"{stage} {ref.model_sha256[:12]}" for stage, ref in inference.checkpoints.items())
    findings_of(finding("C4", problems, f"sizes and lineage agree ({digests})"))


@pytest.mark.retrain_on_failure
@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
def test_the_rollout_passes_the_inference_gate(
    closed_loop: ClosedLoop, inference: InferenceAttempt, findings_of: Callable[..., None]
) -> None:
    """A failure here makes `conftest.py` retrain dynamics and run this test again on the new checkpoint."""
    findings: list[Finding] = judged.gate_conditions(
        closed_loop.context.journal.events(), inference.number, inference.draw
    )
    if inference.verdict.verdict == "PASS":
        findings_of(findings)
        return
    history = "\n".join(
        f"{attempt.name} (dynamics checkpoint {attempt.checkpoints['dynamics'].path.name}): {attempt.verdict.sentence}"
        for attempt in closed_loop.attempts
    )
    if closed_loop.retrain_problem is not None:
        history += f"\n{closed_loop.retrain_problem}"
    with pytest.raises(pytest.fail.Exception):
        findings_of(findings)
    pytest.fail(f"{history}\nthe inference log: {closed_loop.context.layout.relative(inference.log)}", pytrace=False)


@pytest.mark.requirement("L6", "L7")
def test_the_inference_run_and_its_results_were_judged(
    closed_loop: ClosedLoop, inference: InferenceAttempt, findings_of: Callable[..., None]
) -> None:
    findings_of(judged.inference_run(closed_loop.context.journal.events()))


@pytest.mark.requirement("L8", "T5", "T7")
def test_a_failed_gate_was_answered_by_retraining_as_planned(
    closed_loop: ClosedLoop, inference: InferenceAttempt, findings_of: Callable[..., None]
) -> None:
    profile = closed_loop.context.settings.profile
    findings_of(judged.retraining(closed_loop.context.journal.events(), profile.retry, profile.thresholds.max_mse))


@pytest.mark.requirement("H3")
def test_training_is_complete_only_with_a_passed_gate(
    closed_loop: ClosedLoop, inference: InferenceAttempt, findings_of: Callable[..., None]
) -> None:
    findings_of(judged.gate_passed(closed_loop.context.journal.events()))
