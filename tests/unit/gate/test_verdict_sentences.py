"""The sentence of a verdict: what was measured against what, and each reason of a failure.

pytest tests/unit/gate/test_verdict_sentences.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.gate_evidence import CHECKPOINTS, ERROR_ONLY, STRICT, error_and, evidence, measures
from tinyworlds_gate.gate.attempt_record import inference_evidence
from tinyworlds_gate.gate.evidence import Measured, PictureCheck
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.verdict import judge_inference, judge_measures
from tinyworlds_gate.names import PASS


@pytest.mark.requirement("G5")
def test_a_pass_says_what_was_measured_against_what() -> None:
    found = judge_inference(evidence(), ERROR_ONLY)
    assert found.sentence.startswith(
        "PASS: the strict autoregressive (3 steps fed back) rollout error 0.0100 (95 % interval 0.0"
    )
    assert (
        "on 8 held-out clips is at most 0.03; that is better than copying the last frame (0.0200, skill 0.50), and "
        "better than the strongest prediction without a model, the blend (0.0180, skill 0.44 from 0." in found.sentence
    )


@pytest.mark.requirement("G6")
def test_a_pass_says_why_it_says_nothing_about_small_objects() -> None:
    judged = evidence()
    assert judged.measures is not None
    seen = judged.measures.objects or {}
    few = replace(judged.measures, objects=seen | {"no_occasion": "the true frames show 3 small objects"})
    silent = judge_inference(evidence(measures=few), STRICT)
    assert silent.verdict == PASS
    assert silent.sentence.endswith("Small moving objects were not judged: the true frames show 3 small objects."), (
        silent.sentence
    )
    for other in (judge_inference(judged, STRICT), judge_inference(evidence(measures=few), ERROR_ONLY)):
        assert "not judged" not in other.sentence


def test_a_pass_that_is_worse_than_copying_says_so_in_the_same_sentence() -> None:
    found = judge_inference(evidence(measures=measures(copy_last=0.008)), ERROR_ONLY)
    assert found.verdict == PASS
    assert (
        "on 8 held-out clips is at most 0.03, but it is worse than copying the last frame (0.0080, skill -0.25): "
        "the model predicts worse than no motion at all. No statement about the model is made" in found.sentence
    )


def test_a_pass_on_clips_where_nothing_moves_claims_no_comparison() -> None:
    found = judge_inference(evidence(measures=measures(copy_last=0.0)), ERROR_ONLY)
    assert found.verdict == PASS
    assert "nothing moves in these clips, so there is no skill to state" in found.sentence
    assert "nan" not in found.sentence


@pytest.mark.requirement("G5")
def test_a_failure_under_the_threshold_says_worse_than_no_motion_at_all() -> None:
    """The sentence of the issue, with the numbers that the source's gate passed."""
    poor = measures(mse=0.0227, copy_last=0.0142)
    found = judge_inference(evidence(measures=poor), error_and(require_skill=True))
    assert found.sentence.startswith(
        "FAIL: the rollout error 0.0227 is under 0.03, but copying the last frame scores 0.0142; "
        "the model predicts worse than no motion at all. Skill is -0.60, and the lower end of its 95 % interval, -0."
    )
    assert found.sentence.endswith("must be above 0.")


@pytest.mark.requirement("G5")
def test_another_failure_also_names_a_negative_skill_that_is_not_required() -> None:
    poor = measures(mse=0.0227, copy_last=0.0142, mean_frame=0.0228)
    found = judge_inference(evidence(measures=poor), error_and(require_upper_below_mean_frame=True))
    assert found.sentence.endswith(
        "Also: the rollout error 0.0227 is under 0.03, but copying the last frame scores 0.0142; "
        "the model predicts worse than no motion at all."
    )


def test_a_failure_above_the_threshold_does_not_speak_of_being_under_it() -> None:
    poor = measures(mse=0.05, copy_last=0.02)
    assert "no motion at all" not in judge_inference(evidence(measures=poor), ERROR_ONLY).sentence
    found = judge_inference(evidence(measures=poor), error_and(require_skill=True)).sentence
    assert "(copying the last frame scores 0.0200). Follows from it: G5.skill (skill -1.50 from -1." in found
    assert "under" not in found


def test_a_number_that_rounds_to_its_limit_is_shown_with_the_digits_that_tell_them_apart() -> None:
    found = judge_measures(measures(mse=0.030004, copy_last=0.1), ERROR_ONLY)
    assert found.sentence.startswith("FAIL: the rollout error 0.030004 is above the limit 0.03: ")


def test_a_teacher_forced_pass_is_named_as_not_strict() -> None:
    forced = GateMeasures(**{**measures().as_dict(), "teacher_forced": True})
    assert (
        "the teacher-forced (not strict) rollout error" in judge_inference(evidence(measures=forced), STRICT).sentence
    )


@pytest.mark.requirement("G1")
def test_a_failed_process_is_reported_with_the_error_that_its_log_shows(tmp_path: Path) -> None:
    said = judge_inference(evidence(exit_code=3, error="frames.h5: no such file"), ERROR_ONLY).sentence
    assert "ended with exit code 3, so its work is not done: frames.h5: no such file" in said
    path = tmp_path / "inference.log"
    path.write_text("Inferring frame 1/4\n[inference] error: data/frames.h5 is damaged; run again\n")
    found = inference_evidence(
        exit_code=3,
        log=path,
        expected_checkpoints=CHECKPOINTS,
        checkpoints={stage: tmp_path / stage for stage in CHECKPOINTS},
        picture=PictureCheck(None, "none"),
        found=Measured(None, problem="none"),
        draw=1,
        drawn_starts=None,
    )
    assert found.error == "data/frames.h5 is damaged; run again"


@pytest.mark.requirement("G5")
def test_one_step_feeds_nothing_back_and_is_not_called_strict() -> None:
    for one_step in (replace(measures(), generation_steps=1), replace(measures(), prediction_horizon=4)):
        found = judge_inference(evidence(measures=one_step), ERROR_ONLY)
        assert found.sentence.startswith("PASS: the one-step (no frame is fed back, so it is not strict) rollout error")
    two = judge_inference(evidence(measures=replace(measures(), prediction_horizon=2)), ERROR_ONLY)
    assert two.sentence.startswith("PASS: the strict autoregressive (1 step fed back) rollout error")
    unknown = judge_inference(evidence(measures=replace(measures(), prediction_horizon=None)), ERROR_ONLY)
    assert unknown.sentence.startswith("PASS: the rollout error")
