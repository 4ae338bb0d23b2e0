"""The conditions on actions: codes in use, the true actions, and frames of freely chosen codes.

pytest tests/unit/gate/test_action_rules.py
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.helpers.gate_evidence import actions, played
from tinyworlds_gate.gate.action_rules import judge_codes, judge_played, judge_true_actions
from tinyworlds_gate.names import FAIL, NOT_RUN, PASS


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("excess", "verdict"), [(0.9, PASS), (0.08, PASS), (0.06, FAIL), (0.0, FAIL), (-0.01, FAIL), (math.nan, FAIL)]
)
def test_the_codes_must_follow_the_true_actions_distinguishably(excess: float, verdict: str) -> None:
    found, reason = judge_true_actions(actions(excess))
    assert found == verdict
    assert ("`actions` do not lead from each frame to the next" in reason) is (verdict == FAIL)


@pytest.mark.requirement("G5")
def test_what_a_permutation_gives_too_is_no_information() -> None:
    assert judge_true_actions(actions(0.1, chance=0.2))[0] == FAIL


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("judge", [judge_true_actions, judge_played])
def test_without_actions_or_probe_nothing_is_judged(judge: Any) -> None:
    assert judge(None) == (NOT_RUN, "no occasion: not measured")
    assert judge({"no_occasion": "the file has none"}) == (NOT_RUN, "no occasion: the file has none")


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("used", "there_are", "true_actions", "skill_low", "verdict", "said"),
    [
        (3, 8, None, 0.1, PASS, "3 action codes are in use, at least 3 are required"),
        (2, 8, None, 0.79, FAIL, "2 action codes are in use, at least 3 are required"),
        (2, 8, None, None, FAIL, "at least 3 are required"),
        (2, 8, None, 0.88, PASS, "they are enough"),
        (1, 8, None, 0.99, FAIL, "1 action code is in use"),
        (2, 8, 2, 0.1, PASS, "because the frames file has 2 true actions"),
        (1, 8, 2, 0.1, FAIL, "at least 2 are required, because the frames file has 2 true actions"),
        (1, 8, 1, 0.9, FAIL, "at least 2 are required"),
        (2, 2, None, 0.1, PASS, "2 of the 2 action codes are in use, and all of them are required"),
        (1, 2, 2, 0.1, FAIL, "1 of the 2 action codes are in use, and all of them are required"),
        (1, 1, None, 0.1, PASS, "1 of the 1 action codes are in use"),
    ],
)
def test_no_more_codes_are_required_than_the_game_needs(
    used: int, there_are: int, true_actions: int | None, skill_low: float | None, verdict: str, said: str
) -> None:
    record = None if true_actions is None else actions(true_actions=true_actions)
    found, reason = judge_codes(used, 3, there_are, record, skill_low)
    assert (found, said in reason) == (verdict, True), reason


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"error": 2.1}, "their error is 2.10 times that of the true frames of another clip (at most 1.35)"),
        ({"patches": 0.08}, "their patches are 0.080 of the variance away"),
        ({"sharpness": 0.4}, "their sharpness is 0.40 of the true frames (0.45 to 2.00)"),
        ({"sharpness": 2.5}, "their sharpness is 2.50"),
        ({"motion": 0.0}, "their motion is 0.00 of the true frames (0.23 to 3.00)"),
        ({"motion": 3.2}, "their motion is 3.20"),
    ],
    ids=str,
)
def test_each_way_to_be_none_of_the_game_fails_alone(changes: dict[str, float], said: str) -> None:
    found, reason = judge_played(played(**changes))
    assert (found, said in reason) == (FAIL, True), reason
    assert reason.count(";") == (1 if "patches" in changes else 0)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sharpness": 1.9, "sharpness_predicted": 1.8, "motion": 1.0},
        {"motion": 0.24},
        {"motion": 2.9},
        {"patches": 0.07, "patches_true": 0.02},
    ],
    ids=str,
)
def test_frames_that_are_as_good_as_with_inferred_codes_pass(changes: dict[str, float]) -> None:
    assert judge_played(played(**changes))[0] == PASS
