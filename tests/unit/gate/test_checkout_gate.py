"""The checkout's own gate, what its error is worth, and both gates together (G1–G5; docs/gate.md).

pytest tests/unit/gate/test_checkout_gate.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.checkpoint_files import copy_foreign
from tests.helpers.commands import TEST_DATA
from tinyworlds_gate.checkpoints.describe import why_unreadable
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.checkout_attempt import why_not_computable
from tinyworlds_gate.gate.checkout_gate import (
    TargetEvidence,
    both_gates,
    gates_event,
    judge_target,
    of_one_code,
    stated_error,
    unmendable_by_training,
)
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.verdict import GateVerdict
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.capabilities import CAPABILITIES
from tinyworlds_gate.targets.log_lines import InferenceLines, inference_lines, read_log

ORIGINAL, FORK = CAPABILITIES["tinyworlds"], CAPABILITIES["tinyworlds-fork"]
REAL_LOG = TEST_DATA / "foreign_run/logs/inference.log"
PATHS = {stage: f"/c/results/run/{stage}/checkpoints/{stage}_step_9" for stage in STAGES}
GOOD = InferenceLines(PATHS, 4, True, 0.02, 0.01)
"""Two context frames and two generated ones: the error over all is half of the generated one's."""


def evidence(lines: InferenceLines = GOOD, **changes: Any) -> TargetEvidence:
    fields: dict[str, Any] = {
        "exit_code": 0,
        "lines": lines,
        "shown_checkpoints": PATHS,
        "expected_checkpoints": PATHS,
        "picture": "inference_results_gt_vs_pred_1.png",
        "picture_problem": "",
        "context_frames": 2,
        "generated_frames": 2,
    }
    return TargetEvidence(**{**fields, **changes})


def trusted(verdict: str = "PASS") -> GateVerdict:
    return GateVerdict(verdict, f"{verdict}: of the trusted gate.", [Condition("G5", verdict, "x")], GateThresholds())


def test_a_good_inference_passes_with_a_condition_for_each_of_g1_to_g5() -> None:
    judged = judge_target(evidence(), FORK, 0.03)
    assert judged.verdict == "PASS"
    assert [one.id for one in judged.conditions] == [f"G{number}.target" for number in range(1, 6)]
    assert (judged.stated_mse, judged.mse) == (0.02, 0.02)


@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
@pytest.mark.parametrize(
    ("changes", "id", "verdict", "said"),
    [
        ({"exit_code": 1}, "G1", "FAIL", "ended with exit code 1; its log names no exception"),
        (
            {"exit_code": 1, "error": "AttributeError: no attribute x (at utils/inference_utils.py:110)"},
            "G1",
            "FAIL",
            r"ended with exit code 1; AttributeError: no attribute x \(at utils/inference_utils.py:110\)",
        ),
        ({"exit_code": None}, "G1", "FAIL", "inference was ended"),
        ({"shown_checkpoints": {}}, "G2", "FAIL", "does not show which video_tokenizer checkpoint it used"),
        (
            {"shown_checkpoints": {**PATHS, "dynamics": "/c/results/other/dynamics_step_4"}},
            "G2",
            "FAIL",
            "shows the dynamics checkpoint /c/results/other/dynamics_step_4, but this run chose .*latest one took",
        ),
        ({"lines": dataclasses.replace(GOOD, frames_inferred=0)}, "G3", "FAIL", "lacks `Inferring frame …`"),
        ({"lines": dataclasses.replace(GOOD, has_stats=False)}, "G3", "FAIL", "lacks `Inference stats`"),
        ({"picture": None, "picture_problem": "none lies there"}, "G4", "FAIL", "left no picture: none lies there"),
        ({"lines": dataclasses.replace(GOOD, mse=None)}, "G5", "FAIL", "lacks `Mean Squared Error"),
        ({"lines": dataclasses.replace(GOOD, mse=float("nan"))}, "G5", "FAIL", "is nan, not a finite number"),
        ({"lines": dataclasses.replace(GOOD, mse=0.2, mse_with_context=0.1)}, "G5", "FAIL", r"is above 0\.03"),
        ({"lines": dataclasses.replace(GOOD, random_actions=4)}, "G5", "INVALID", "followed random actions in 4 step"),
        ({"lines": dataclasses.replace(GOOD, mse_with_context=0.019)}, "G5", "INVALID", "contradict each other"),
    ],
)
def test_each_failure_is_reported_by_its_own_condition(
    changes: dict[str, Any], id: str, verdict: str, said: str
) -> None:
    judged = judge_target(evidence(**changes), FORK, 0.03)
    bad = [one for one in judged.conditions if one.verdict != "PASS"]
    assert [(one.id, one.verdict) for one in bad] == [(f"{id}.target", verdict)]
    assert judged.verdict == verdict
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(judged.sentence)


@pytest.mark.requirement("G5")
def test_context_frames_that_count_in_the_error_are_taken_out() -> None:
    """Hazard 6: the copied context has no error, so that half of the frames halves the mean."""
    error = stated_error(evidence(InferenceLines(mse=0.02)), ORIGINAL)
    assert error.mse == pytest.approx(0.04)
    assert "0.020000 over 2 copied context frames and 2 generated ones, which is 0.040000" in error.explanation
    judged = judge_target(evidence(dataclasses.replace(GOOD, mse_with_context=None)), ORIGINAL, 0.03)
    assert judged.verdict == "FAIL"


def test_a_fork_that_does_not_show_both_errors_is_read_as_the_worse() -> None:
    error = stated_error(evidence(InferenceLines(mse=0.02)), FORK)
    assert error.mse == pytest.approx(0.04)
    assert "no line `full_with_context`" in error.explanation


def test_two_equal_errors_show_that_the_first_counts_the_context_too() -> None:
    assert stated_error(evidence(InferenceLines(mse=0.02, mse_with_context=0.02)), FORK).mse == pytest.approx(0.04)


@pytest.mark.requirement("G5")
def test_the_fork_s_real_log_states_the_generated_frames_and_followed_random_actions() -> None:
    from tinyworlds_gate.targets.log_lines import LogPatterns

    lines = inference_lines(read_log(REAL_LOG), LogPatterns())
    real = evidence(lines, context_frames=2, generated_frames=4)
    assert stated_error(real, FORK).mse == 0.035746
    judged = judge_target(real, FORK, 0.05)
    assert judged.verdict == "INVALID"
    assert "followed random actions in 4 step(s)" in judged.sentence


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("own", "other", "both"),
    [
        ("PASS", "PASS", "PASS"),
        ("PASS", "FAIL", "FAIL"),
        ("FAIL", "PASS", "FAIL"),
        ("FAIL", "INVALID", "INVALID"),
        ("INVALID", "PASS", "INVALID"),
    ],
)
def test_the_worse_verdict_of_both_gates_counts(own: str, other: str, both: str) -> None:
    lines = {"PASS": GOOD, "FAIL": dataclasses.replace(GOOD, mse=0.2, mse_with_context=0.1)}
    judged = judge_target(evidence(lines.get(own, dataclasses.replace(GOOD, random_actions=1))), FORK, 0.03)
    assert judged.verdict == own
    verdict = both_gates(judged, trusted(other), None, GateThresholds())
    assert verdict.verdict == both
    assert verdict.sentence.startswith(f"{both}: ")
    event = gates_event(judged, trusted(other), None)
    assert (event["gates"]["target"]["verdict"], event["gates"]["trusted"]["verdict"]) == (own, other)
    assert (event["disagreement"] is None) == (own == other)
    if own != other:
        assert f"the checkout's own says {own}" in event["disagreement"]
        assert f"the trusted one {other} on held-out clips" in event["disagreement"]


@pytest.mark.requirement("G5")
def test_without_the_trusted_gate_nothing_passes_and_the_reason_is_reported() -> None:
    judged, why = judge_target(evidence(), FORK, 0.03), "dynamics_step_9 has mixture-of-experts blocks"
    verdict = both_gates(judged, None, why, GateThresholds())
    assert verdict.verdict == "INVALID"
    assert f"the trusted gate is NOT-RUN: {why}" in verdict.sentence
    event = gates_event(judged, None, why)
    assert event["gates"]["trusted"]["verdict"] == "NOT-RUN"
    assert "own gate says PASS, the trusted gate is NOT-RUN" in event["disagreement"]


@pytest.mark.requirement("G2")
def test_a_checkout_that_changed_during_the_run_makes_the_verdict_invalid() -> None:
    same = of_one_code(trusted(), [], 20)
    assert (same.verdict, same.conditions[-1].id) == ("PASS", "G2.checkout")
    changed = of_one_code(trusted(), ["utils/stage.py was changed"], 20)
    assert changed.verdict == "INVALID"
    assert "its weights are not of one code: utils/stage.py was changed" in changed.sentence


def test_checkpoints_of_the_fork_can_be_read(tmp_path: Path) -> None:
    references = {stage: verify_checkpoint(copy_foreign(tmp_path / stage, stage)) for stage in STAGES}
    assert why_not_computable(references) is None


def test_a_tensor_that_our_models_have_no_place_for_is_reported(tmp_path: Path) -> None:
    import torch

    folders = {stage: copy_foreign(tmp_path / stage, stage) for stage in STAGES}
    file = folders["dynamics"] / "model_state_dict.pt"
    weights = torch.load(file, weights_only=True, map_location="cpu")
    torch.save({**weights, "transformer.blocks.0.gate.weight": torch.zeros(2)}, file)
    reason = why_not_computable({stage: verify_checkpoint(folder) for stage, folder in folders.items()})
    assert reason is not None
    assert "1 unknown (transformer.blocks.0.gate.weight)" in reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transformer.blocks.0.moe.experts.0.w_v.weight": (2, 2)}, "has mixture-of-experts blocks"),
        ({"transformer.blocks.0.ffn.experts.0.w_v.lora": (2, 2)}, "has mixture-of-experts blocks"),
        ({"transformer.blocks.0.cross_attn.q_norm.weight": (2,)}, "has normalised queries and keys"),
        (None, "is of no TinyWorlds architecture that the embedded reference implements"),
    ],
)
def test_an_architecture_that_ours_cannot_read_is_reported(
    tmp_path: Path, changes: dict[str, tuple[int, ...]] | None, said: str
) -> None:
    import torch

    folder = copy_foreign(tmp_path, "dynamics")
    file = folder / "model_state_dict.pt"
    weights = torch.load(file, weights_only=True, map_location="cpu")
    extra = {name: torch.zeros(shape) for name, shape in (changes or {}).items()}
    torch.save({**weights, **extra} if changes else {"other.weight": torch.ones(2)}, file)
    reason = why_unreadable({"dynamics": verify_checkpoint(folder)})
    assert reason is not None
    assert said in reason


@pytest.mark.requirement("G2")
def test_an_inference_without_actions_need_not_name_a_latent_action_model() -> None:
    """The original prints that line only where it loads the model."""
    without = {stage: path for stage, path in PATHS.items() if stage != "latent_actions"}
    judged = judge_target(evidence(shown_checkpoints=without), ORIGINAL, 0.05)
    assert judged.verdict == "PASS"
    assert judged.conditions[1].reason == (
        "the checkout's log shows the checkpoints (video_tokenizer, dynamics) that this run chose"
    )
    assert judge_target(evidence(shown_checkpoints=without), FORK, 0.05).verdict == "FAIL"
    for missing in without:
        shown = {stage: path for stage, path in without.items() if stage != missing}
        failed = judge_target(evidence(shown_checkpoints=shown), ORIGINAL, 0.05).conditions[1]
        assert failed.reason == f"the checkout's log does not show which {missing} checkpoint it used"
    other = {**PATHS, "latent_actions": "/c/other"}
    assert judge_target(evidence(shown_checkpoints=other), ORIGINAL, 0.05).verdict == "FAIL"


@pytest.mark.requirement("G1")
def test_an_inference_that_accepts_no_checkpoint_folder_fails_with_that_reason() -> None:
    can = dataclasses.replace(ORIGINAL, takes_checkpoint_folders=False)
    judged = judge_target(evidence(exit_code=1), can, 0.05)
    assert "ended with exit code 1; its code accepts no checkpoint folder" in judged.sentence


@pytest.mark.requirement("T5")
def test_training_mends_an_error_that_is_too_large_and_nothing_else_of_the_checkouts_own_inference() -> None:
    large = judge_target(evidence(), FORK, 0.001)
    assert (large.verdict, unmendable_by_training(large.conditions)) == ("FAIL", None)
    assert unmendable_by_training(judge_target(evidence(), FORK, 0.03).conditions) is None
    followed_random = dataclasses.replace(GOOD, random_actions=2)
    for changes, said in (
        ({"exit_code": 1}, "ended with exit code 1"),
        ({"picture": None, "picture_problem": "none is new"}, "left no picture"),
        ({"shown_checkpoints": {**PATHS, "dynamics": "/c/other"}}, "but this run chose"),
        ({"lines": followed_random}, "followed random actions"),
    ):
        reason = unmendable_by_training(judge_target(evidence(**changes), FORK, 0.001).conditions)
        assert said in str(reason)
