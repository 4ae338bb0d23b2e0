"""Each condition at its limit. ``pytest tests/unit/gate/test_conditions.py``"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.gate_evidence import measures
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.conditions import Condition, apart, measured_conditions
from tinyworlds_gate.names import FAIL, INVALID, PASS

MEASURES = replace(measures(), mse=0.01, mse_high=0.011, copy_last_mse=0.02, mean_frame_mse=0.05)
NOTHING = GateThresholds(max_mse=0.03, min_episodes=None, require_upper_below_mean_frame=False, require_skill=False)


def condition(id: str, limits: dict[str, Any], **changes: Any) -> Condition:
    """Return the condition with this ID of measures with these changes."""
    found = measured_conditions(replace(MEASURES, **changes), replace_limits(limits))
    return next(one for one in found if one.id == id)


def replace_limits(limits: dict[str, Any]) -> GateThresholds:
    return NOTHING.model_copy(update=limits)


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        (0.5, 0.03, "0.5000"),
        (0.03, 0.03, "0.0300"),
        (0.030001, 0.03, "0.030001"),
        (0.03000000001, 0.03, "0.03000000001"),
        (0.0300000001, 0.03, "0.0300000001"),
    ],
)
def test_a_number_is_told_apart_from_its_limit(value: float, limit: float, shown: str) -> None:
    assert apart(value, limit) == shown
    assert apart(1.26, 1.0, 1) == "1.3"


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("mse", "verdict", "said"),
    [
        (0.03, PASS, "the rollout error 0.0300 is at most 0.03"),
        (0.030001, FAIL, "the rollout error 0.030001 is above the limit 0.03"),
        (math.nan, FAIL, "the rollout error is nan, not a finite number"),
        (math.inf, FAIL, "the rollout error is inf, not a finite number"),
    ],
)
def test_the_error_is_at_most_its_limit(mse: float, verdict: str, said: str) -> None:
    found = condition("G5", {}, mse=mse)
    assert (found.verdict, found.reason.startswith(said)) == (verdict, True)
    assert [one.id for one in measured_conditions(MEASURES, NOTHING)] == ["G5"], "nothing else is required"


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("clips", "episodes", "verdict", "said"),
    [
        (8, 5, PASS, "8 clips were measured in 5 episodes, at least 5 episodes are required"),
        (8, 4, FAIL, "8 clips were measured in 4 episodes, at least 5 episodes are required: an error on so few"),
        (1, 1, FAIL, "1 clip was measured in 1 episode, at least 5"),
    ],
)
def test_the_sample_has_its_episodes(clips: int, episodes: int, verdict: str, said: str) -> None:
    found = condition("G5.sample", {"min_episodes": 5}, clips=clips, episodes=episodes)
    assert (found.verdict, found.reason[: len(said)]) == (verdict, said)


@pytest.mark.requirement("G5")
def test_the_upper_end_is_within_the_limit_and_below_the_mean_frame() -> None:
    for high, verdict in ((0.03, PASS), (0.0301, FAIL)):
        assert condition("G5.interval", {"require_mse_upper": True}, mse_high=high).verdict == verdict
    for high, verdict in ((0.0499, PASS), (0.05, FAIL)):
        limits = {"require_upper_below_mean_frame": True}
        assert condition("G5.mean_frame", limits, mse_high=high).verdict == verdict


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"skill": 0.5, "skill_low": 0.01}, PASS, "skill 0.50 (95 % interval from 0.01) against copying"),
        ({"skill": 0.5, "skill_low": 0.0}, FAIL, "skill is 0.50 against copying the last frame"),
        ({"skill": 0.0, "skill_low": -0.1}, FAIL, "skill is 0.00 against copying the last frame"),
        ({"skill": -0.1, "skill_low": -0.3, "mse": 0.022}, FAIL, "the rollout error 0.0220 is under 0.03, but copying"),
        ({"skill": -0.1, "skill_low": -0.3, "mse": 0.03}, FAIL, "the rollout error 0.0300 is at the limit 0.03, but"),
        ({"skill": -0.1, "skill_low": -0.3, "mse": 0.04}, FAIL, "copying the last frame scores 0.0200, less than the"),
        ({"skill": math.nan, "skill_low": math.nan}, FAIL, "copying the last frame scores 0.0200: nothing moves"),
        ({"skill": math.nan, "skill_low": math.nan, "mse": math.inf}, FAIL, "the rollout error is inf, so the skill"),
    ],
)
def test_the_skill_is_shown_to_be_above_nothing(changes: dict[str, float], verdict: str, said: str) -> None:
    found = condition("G5.skill", {"require_skill": True}, **changes)
    assert (found.verdict, found.reason[: len(said)]) == (verdict, said)


@pytest.mark.requirement("G8")
@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"skill_strongest": None}, INVALID, "the predictions that need no model were not computed"),
        ({"skill_strongest_low": None}, INVALID, "the predictions that need no model were not computed"),
        ({"skill_strongest_low": 0.01}, PASS, "skill 0.40 (95 % interval from 0.01) against the strongest"),
        ({"skill_strongest_low": 0.0}, FAIL, "skill is 0.40 against the strongest prediction without a model, the"),
        ({"skill_strongest": 0.0}, FAIL, "skill is 0.00 against the strongest prediction without a model, the"),
        ({"skill_strongest": -0.1}, FAIL, "the rollout error 0.0100 is above that of the strongest prediction"),
        ({"skill_strongest": math.nan}, FAIL, "the strongest prediction without a model, the "),
        ({"skill_strongest": math.nan, "mse": math.nan}, FAIL, "the rollout error is nan, so the skill against"),
    ],
)
def test_the_skill_against_the_strongest_is_shown(changes: dict[str, Any], verdict: str, said: str) -> None:
    known = {"skill_strongest": 0.4, "skill_strongest_low": -0.2}
    found = condition("G8", {"require_skill_strongest": True}, **{**known, **changes})
    assert (found.verdict, found.reason[: len(said)]) == (verdict, said)


@pytest.mark.requirement("G5")
def test_random_actions_cost_at_least_their_decibels() -> None:
    for cost, verdict in ((0.1, PASS), (0.0999, FAIL), (math.nan, FAIL)):
        assert condition("G5.control", {"min_delta_psnr_db": 0.1}, delta_psnr_db=cost).verdict == verdict
    ids = [one.id for one in measured_conditions(MEASURES, replace_limits({"min_delta_psnr_db": 0.1}))]
    assert ids == ["G5", "G5.control", "G5.played"]
    ids = [one.id for one in measured_conditions(MEASURES, replace_limits({"min_action_codes": 2}))]
    assert ids == ["G5", "G5.codes", "G5.true_actions"]
