"""What a pass is limited to, and each cause of a failure once. ``pytest tests/unit/gate/test_verdict_words.py``"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.gate_evidence import evidence, log, measures
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS, GateThresholds
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.verdict import judge_inference, judge_measures
from tinyworlds_gate.gate.verdict_words import causes, pass_limit, tone, verdict_word, without_word
from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, PASS

RULE = GateThresholds(min_episodes=None).as_record()


@pytest.mark.requirement("G8")
@pytest.mark.parametrize(
    ("known", "rule", "limit"),
    [
        ({"skill_strongest_low": 0.01}, RULE, None),
        ({"skill_strongest_low": 0.01, "skill": 0.1}, RULE, None),
        ({"skill_strongest_low": 0.01, "skill": -0.1}, RULE, "loop only"),
        ({"skill_strongest_low": 0.0}, RULE, "loop only"),
        ({"skill_strongest_low": -0.2}, RULE, "loop only"),
        ({"skill_strongest_low": None}, RULE, "loop only"),
        ({"skill_strongest_low": float("nan")}, RULE, "loop only"),
        ({"mse": 0.01}, RULE, "loop only"),
        ({"mse": 0.01}, {"max_mse": 0.03}, "before G8"),
        ({"skill_strongest_low": 0.5}, {**RULE, "max_mse": 1.0}, "loop only"),
        (None, RULE, "loop only"),
        (None, None, "loop only"),
    ],
)
def test_a_pass_without_a_limit_beats_every_prediction_without_a_model(
    known: dict[str, Any] | None, rule: dict[str, Any] | None, limit: str | None
) -> None:
    assert pass_limit(known, rule) == limit
    event = {"verdict": PASS, "measures": known, "thresholds": rule}
    assert verdict_word(event) == (f"PASS ({limit})" if limit else "PASS")
    assert tone(event) == (DEGRADED if limit else PASS)
    if known is not None:
        assert tone({**event, "measures": {**known, "teacher_forced": True}}) == DEGRADED
        assert tone({**event, "measures": {**known, "generation_steps": 1}}) == DEGRADED
    assert verdict_word({**event, "verdict": FAIL}) == tone({**event, "verdict": FAIL}) == FAIL


@pytest.mark.requirement("G8")
def test_the_sentence_of_a_pass_that_does_not_beat_g8_makes_no_statement_about_the_model() -> None:
    rule = GateThresholds(min_episodes=None)
    good = judge_measures(measures(), rule)
    assert good.sentence.startswith("PASS: the strict")
    assert "statement" not in good.sentence
    for poor in (measures(blend=0.009), measures(blend=0.0101), replace(measures(), skill_strongest_low=None)):
        found = judge_measures(poor, rule)
        assert found.verdict == PASS
        assert found.sentence.startswith("PASS (loop only): the strict")
        assert "No statement about the model is made: it is not shown to beat the strongest" in found.sentence
    anything = judge_measures(measures(), GateThresholds(min_episodes=None, max_mse=1.0)).sentence
    assert anything.startswith("PASS (loop only): the strict")
    assert anything.endswith("no statement about the model is made.")


def test_a_sentence_is_shown_without_its_verdict() -> None:
    for word in ("PASS", "PASS (loop only)", "FAIL", "INVALID", "PASS (stage dynamics, loop only)"):
        assert without_word(f"{word}: the error is 1: too large") == "the error is 1: too large"
    assert without_word("The run ended: PASS: x") == "The run ended: PASS: x"


def test_a_process_that_broke_off_is_one_cause() -> None:
    gone: dict[str, Any] = {"exit_code": 1, "picture": None, "picture_problem": "none", "measures": None}
    found = judge_inference(evidence(**gone, log=log(mse=None, has_stats=False, frames_inferred=0)), STRICT_THRESHOLDS)
    assert [one.id for one in found.conditions if one.verdict != PASS] == ["G1", "G3", "G4", "G5.log"]
    assert found.sentence == (
        "FAIL: the inference command ended with exit code 1, so its work is not done; its log has the reason. "
        "Follows from it: G3, G4, G5.log."
    )


@pytest.mark.requirement("G5", "G8")
def test_a_model_that_is_no_better_than_no_model_is_one_cause() -> None:
    rule = STRICT_THRESHOLDS.model_copy(update={"min_episodes": None})
    poor = measures(mse=0.02, copy_last=0.015, mean_frame=0.019, random_actions=0.0201, blend=0.012, found=0.3)
    found = judge_measures(poor, rule)
    failed = [one.id for one in found.conditions if one.verdict == FAIL]
    assert failed == ["G5.mean_frame", "G5.skill", "G6", "G8", "G5.control"]
    assert found.sentence.count("worse than no motion at all") == 1
    assert ". Follows from it: G5.mean_frame (mean frame 0.0190), G8 (blend 0.0120), G5.control (0.02 dB). Also: " in (
        found.sentence
    )
    assert found.sentence.count("Also: ") == 1
    assert "Also: objects: 30 % of 200" in found.sentence, "which objects are lost is said whatever else is wrong"


def test_causes_that_have_nothing_to_do_with_each_other_are_each_named() -> None:
    poor = replace(measures(codes=2, random_actions=0.0105), objects=measures(found=0.3).objects)
    found = judge_measures(poor, STRICT_THRESHOLDS.model_copy(update={"min_episodes": None}))
    assert [one.id for one in found.conditions if one.verdict == FAIL] == ["G6", "G5.control", "G5.codes"]
    assert found.sentence.count("Also: ") == 1
    assert "so few cannot tell the moves of a player apart. Follows from it: G5.control (0.21 dB)." in found.sentence


def test_every_broken_condition_is_named_once_and_an_equal_reason_is_not_repeated() -> None:
    ids = ["G5.blind", "G5.floor", "G5.baseline", "G5.recomputed", "G5.frames", "C4", "C4", "X"]
    problems = [Condition(id, INVALID, f"why {id}") for id in ids]
    found = causes(problems, None)
    assert found == [
        "why G5.frames. Follows from it: G5.blind, G5.floor, G5.baseline, G5.recomputed",
        "why C4",
        "why X",
    ]
    assert causes([Condition("A", FAIL, "one"), Condition("B", FAIL, "one")], None) == ["one"]
