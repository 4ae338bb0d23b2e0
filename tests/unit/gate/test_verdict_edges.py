"""Whole sentences of the gate's verdict. ``pytest tests/unit/gate/test_verdict_edges.py``"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.gate_evidence import evidence, log, measures
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.verdict import UNCHECKED, judge_inference, judge_measures
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, EVERYTHING, FINAL

LIMITS = GateThresholds(min_episodes=None)
GOOD = replace(measures(), mse_low=0.009, mse_high=0.011, skill_strongest=0.5, skill_strongest_low=0.25)
START = "the strict autoregressive (3 steps fed back) rollout error 0.0100"
COPIED = "copying the last frame (0.0200, skill 0.50)"
BLEND = "the strongest prediction without a model, the blend (0.0180, skill {} from {})"


def passed(draw: int = ATTEMPTS, **changes: Any) -> str:
    """Return the sentence of a pass behind its error and interval."""
    sentence = judge_measures(replace(GOOD, **changes), LIMITS, draw=draw).sentence
    assert sentence.startswith("PASS")
    return sentence.partition(": ")[2].partition(" No statement")[0]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, f"; that is better than {COPIED}, and better than {BLEND.format('0.50', '0.25')}."),
        (
            {"skill_strongest_low": 0.0},
            f"; that is better than {COPIED}, and not shown to be better than {BLEND.format('0.50', '0.00')}.",
        ),
        (
            {"skill_strongest": 0.0, "skill_strongest_low": -0.5},
            f"; that is better than {COPIED}, and no better than {BLEND.format('0.00', '-0.50')}.",
        ),
        *(
            ({name: value}, f"; that is better than {COPIED}.")
            for name, value in (
                *(("skill_strongest", None), ("skill_strongest_low", None), ("skill_strongest", math.nan)),
                ("strongest_baseline", "last frame"),
            )
        ),
        (
            {"skill": 0.0, "strongest_baseline": "last frame"},
            "; that is no better than copying the last frame (0.0200, skill 0.00).",
        ),
        (
            {"skill": -0.5},
            ", but it is worse than copying the last frame (0.0200, skill -0.50): the model predicts worse than no "
            "motion "
            "at all.",
        ),
        ({"skill": math.nan}, "; nothing moves in these clips, so there is no skill to state."),
    ],
)
def test_a_pass_is_compared_with_copying_and_with_the_strongest_prediction(changes: dict[str, Any], end: str) -> None:
    what = f"{START} (95 % interval 0.0090 to 0.0110) on 8 held-out clips is at most 0.03{end}"
    assert passed(**changes) == what


@pytest.mark.parametrize(
    ("changes", "interval"),
    [
        ({"mse_low": math.nan, "episodes": 1}, "no interval: all clips lie in one episode"),
        ({"mse_low": math.nan, "episodes": 2}, "no interval"),
        ({"episodes": 1}, "95 % interval 0.0090 to 0.0110"),
    ],
)
def test_the_interval_of_a_pass(changes: dict[str, Any], interval: str) -> None:
    assert passed(**changes).startswith(f"{START} ({interval}) on 8 held-out clips")


@pytest.mark.parametrize(
    ("draw", "clips"),
    [
        (UNCHECKED, "clips"),
        (EVERYTHING, "held-out clips"),
        (ATTEMPTS, "held-out clips"),
        (FINAL, "held-out clips of a second draw, which no retry has seen,"),
        (EVALUATION, "clips of the evaluation set, which no training and no retry has seen,"),
    ],
)
def test_the_clips_of_each_draw_are_named(draw: int, clips: str) -> None:
    assert f" on 8 {clips} is at most 0.03; that" in passed(draw)
    failed = judge_measures(replace(GOOD, mse=0.05), LIMITS, draw=draw).sentence
    where = "" if draw in (ATTEMPTS, UNCHECKED) else f"on {clips} "
    assert failed.startswith(f"FAIL: {where}the rollout error 0.0500 is above the limit 0.03")


@pytest.mark.parametrize(
    ("measured", "problem"),
    [
        ((0, 10), None),
        ((0,), "1 clips were measured instead of the 2 {}: 1 of them are missing"),
        ((0, 10, 30, 20), "4 clips were measured instead of the 2 {}, and 2 were not drawn, the first at frame 20"),
        (
            (5,),
            "1 clips were measured instead of the 2 {}: 2 of them are missing, and 1 were not drawn, the first at "
            "frame 5",
        ),
    ],
)
@pytest.mark.parametrize(
    ("draw", "which"),
    [
        (EVERYTHING, "held-out clips of its draw"),
        (FINAL, "held-out clips of the second draw, in episodes that no attempt has measured"),
        (EVALUATION, "clips that the evaluation set names"),
    ],
)
def test_clips_that_are_missing_or_strange_are_counted(
    measured: tuple[int, ...], problem: str | None, draw: int, which: str
) -> None:
    found = judge_inference(evidence(drawn_starts=(0, 10), measured_starts=measured, draw=draw), LIMITS)
    (clips,) = (one for one in found.conditions if one.id == "G5.clips")
    if problem is None:
        assert (clips.verdict, clips.reason) == ("PASS", f"the 2 clips measured are the {which}")
        return
    end = "; an error on other clips proves nothing"
    assert (clips.verdict, clips.reason) == ("INVALID", problem.format(which) + end)


@pytest.mark.parametrize(("stated", "verdict"), [(0.01, "PASS"), (0.010001, "PASS"), (0.0100011, "INVALID")])
def test_the_error_of_the_log_is_that_of_the_clips_to_a_millionth(stated: float, verdict: str) -> None:
    found = judge_inference(evidence(measures=replace(GOOD, mse=0.01), log=log(mse=stated)), LIMITS)
    assert {one.id: one.verdict for one in found.conditions}["G5.log"] == verdict


@pytest.mark.requirement("G1", "G2", "G3", "G4")
def test_each_condition_of_the_run_itself_says_what_was_seen() -> None:
    found = {one.id: one.reason for one in judge_inference(evidence(), LIMITS).conditions}
    assert found["G1"] == "the inference command ended with exit code 0"
    assert found["G2"] == "the log shows the three checkpoints that this run chose"
    assert found["G3"] == "the log shows 8 inference steps and the statistics"
    assert found["G4"] == "inference_results_gt_vs_pred_2026_01_01_00_00_00.png is new and decodes as an image"
    assert found["G5.log"] == "the log states a mean squared error of 0.010000"
    ended = judge_inference(evidence(exit_code=3, error="ValueError: bad"), LIMITS).conditions[0]
    assert ended.reason == "the inference command ended with exit code 3, so its work is not done: ValueError: bad"
    silent = judge_inference(evidence(exit_code=3), LIMITS).conditions[0]
    assert (
        silent.reason == "the inference command ended with exit code 3, so its work is not done; its log has the reason"
    )


def test_a_measurement_without_a_run_has_its_own_conditions_and_can_leave_some_out() -> None:
    other = Condition("C4", "INVALID", "sizes")
    found = judge_measures(GOOD, LIMITS, [other])
    assert (found.verdict, found.conditions[0], found.sentence) == ("INVALID", other, "INVALID: sizes.")
    assert judge_measures(GOOD, LIMITS, [other], without=("C4",)).verdict == "PASS"
    nothing = judge_inference(evidence(measures=None, log=log(mse=None)), LIMITS, without=("G5.log",))
    assert nothing.verdict == "INVALID"
    assert nothing.sentence.startswith("INVALID: nothing was measured, and nothing evaluated is not a pass")
