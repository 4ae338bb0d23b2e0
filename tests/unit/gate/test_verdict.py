"""The verdict of the inference gate: each condition turns it alone, and only all of them together pass."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commands import REPOSITORY
from tests.helpers.gate_evidence import (
    CHECKPOINTS,
    ERROR_ONLY,
    STRICT,
    actions,
    error_and,
    evidence,
    log,
    measures,
    played,
)
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.verdict import GateVerdict, judge_inference, judge_measures
from tinyworlds_gate.names import FAIL, FINAL, INVALID, PASS

ALL_IDS = [
    "G1",
    "G2",
    "G3",
    "G4",
    "G5.log",
    "G5",
    "G5.sample",
    "G5.interval",
    "G5.mean_frame",
    "G5.skill",
    "G6",
    "G7",
    "G8",
    "G5.control",
    "G5.played",
    "G5.codes",
    "G5.true_actions",
]
OTHER_RUN = {**CHECKPOINTS, "dynamics": "results/other/dynamics/checkpoints/dynamics_step_9"}
NO_TOKENIZER = {stage: path for stage, path in CHECKPOINTS.items() if stage != "video_tokenizer"}


def error_and_some(interval: bool, skill: bool, below_mean: bool, control: bool, used: bool) -> GateThresholds:
    return error_and(
        require_mse_upper=interval,
        require_skill=skill,
        require_upper_below_mean_frame=below_mean,
        min_delta_psnr_db=1.0 if control else None,
        min_action_codes=3 if used else None,
    )


ALONE: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "G1",
        FAIL,
        {"exit_code": 1},
        "the inference command ended with exit code 1, so its work is not done",
    ),
    ("G1", FAIL, {"exit_code": None}, "the inference command was ended before it had an exit code"),
    (
        "G2",
        FAIL,
        {"log": log(checkpoints=NO_TOKENIZER)},
        "the log does not show which video_tokenizer checkpoint was used",
    ),
    (
        "G2",
        FAIL,
        {"log": log(checkpoints=OTHER_RUN)},
        "the log shows the dynamics checkpoint results/other/.*, but this run chose results/r/",
    ),
    ("G3", FAIL, {"log": log(frames_inferred=0)}, "no line 'Inferring frame …': no frame was generated"),
    ("G3", FAIL, {"log": log(has_stats=False)}, "no line 'Inference stats': the run did not reach its end"),
    ("G4", FAIL, {"picture": None, "picture_problem": "no new picture appeared"}, "no new picture appeared"),
    ("G5.log", FAIL, {"log": log(mse=None)}, r"no line 'Mean Squared Error \(GT vs Pred\)'"),
    ("G5.log", FAIL, {"log": log(mse=math.nan)}, "the mean squared error in the log is nan, not a finite number"),
    ("G5.log", FAIL, {"log": log(mse=math.inf)}, "the mean squared error in the log is inf, not a finite number"),
    (
        "G5.measures",
        INVALID,
        {"measures": None, "measures_problem": "m.json: the measures hold no clip"},
        "the error of the rollout is not known: m.json: the measures hold no clip",
    ),
    (
        "G5.log",
        INVALID,
        {"log": log(mse=0.010002)},
        "the log states an error of 0.010002, but the clips it measured average 0.010000",
    ),
    (
        "G5",
        FAIL,
        {"measures": measures(mse=0.05, copy_last=0.1, mean_frame=0.2, random_actions=0.2, blend=0.09)},
        "the rollout error 0.0500 is above the limit 0.03: the generated frames are too far .*last frame scores 0.1000",
    ),
    (
        "G5.sample",
        FAIL,
        {"measures": measures(episodes=3)},
        "8 clips were measured in 3 episodes, at least 4 episodes are required: an error on so few may be luck",
    ),
    (
        "G5.recomputed",
        INVALID,
        {"claims": (Condition("G5.recomputed", INVALID, "what it states is not the error of these frames"),)},
        "what it states is not the error of these frames",
    ),
    (
        "C4",
        INVALID,
        {"agreement": (Condition("C4", INVALID, "dynamics learned from another tokenizer"),)},
        "dynamics learned from another tokenizer",
    ),
    (
        "G5.interval",
        FAIL,
        {"measures": measures(mse=0.0295, copy_last=0.1, random_actions=0.2, blend=0.09)},
        "the upper end 0.03.* is not within the limit 0.03: on other clips the error may well lie above it",
    ),
    (
        "G5.mean_frame",
        FAIL,
        {"measures": measures(mean_frame=0.0101)},
        "is not below 0.0101, the error of always answering the mean frame",
    ),
    (
        "G5.skill",
        FAIL,
        {"measures": measures(copy_last=0.0101)},
        r"skill is 0.01 .*, -0\.\d\d, must be above 0",
    ),
    (
        "G7",
        FAIL,
        {"measures": measures(past_ratio=1.1)},
        r"the error is typically 1.10 times the own one \(95 % interval from 1.04\); at least 1.05 is required",
    ),
    (
        "G7",
        INVALID,
        {"measures": replace(measures(), past=None)},
        "no probe generated frames from the context of another clip",
    ),
    (
        "G8",
        FAIL,
        {"measures": measures(blend=0.0101)},
        r"skill is 0.01 against the strongest .*, the blend \(0.0101\), but the lower end .* -0\.\d\d, must be above 0",
    ),
    (
        "G8",
        FAIL,
        {"measures": measures(blend=0.009)},
        r"the rollout error 0.0100 is above that of the strongest .*, the blend \(0.0090\): the model predicts worse",
    ),
    (
        "G8",
        INVALID,
        {"measures": replace(measures(), skill_strongest=None)},
        "the predictions that need no model were not computed",
    ),
    (
        "G5.control",
        FAIL,
        {"measures": measures(random_actions=0.0105)},
        "random actions cost 0.21 dB, at least 1 dB are required",
    ),
    (
        "G5.codes",
        FAIL,
        {"measures": measures(codes=2)},
        r"2 action codes are in use, at least 3 are required \(codes carry 1.9 of 2.0 bits a frame\)",
    ),
    (
        "G5.true_actions",
        FAIL,
        {"measures": replace(measures(), actions=actions(0.01))},
        r"say 3 % of the true actions \(by chance 2 %; 1 % above it, .* from -1 %, at least 5 % are required",
    ),
    (
        "G5.played",
        FAIL,
        {"measures": replace(measures(), played=played(patches=0.3))},
        r"with freely chosen codes \(4 in use, 16 clips\) the frames are none of the game: their patches are 0.300 of",
    ),
]


@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
def test_a_good_run_passes_every_condition_and_the_verdict_lists_them() -> None:
    verdict = judge_inference(evidence(), STRICT)
    assert [condition.id for condition in verdict.conditions] == ALL_IDS
    assert {condition.verdict for condition in verdict.conditions} == {PASS}
    assert verdict.verdict == PASS


@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
@pytest.mark.parametrize(("id", "verdict", "changes", "said"), ALONE)
def test_each_condition_turns_the_verdict_alone(id: str, verdict: str, changes: dict[str, Any], said: str) -> None:
    found = judge_inference(evidence(**changes), STRICT)
    bad = [condition for condition in found.conditions if condition.verdict != PASS]
    # An error above the threshold takes its interval with it; nothing else fails beside the condition under test.
    assert {condition.id for condition in bad} - ({"G5.interval"} if "above the limit" in said else set()) == {id}
    assert bad[0].verdict == found.verdict == verdict
    assert re.search(said, bad[0].reason)
    assert bad[0].reason in found.sentence
    assert found.sentence.startswith(f"{verdict}: ")


DRAWN = (0, 10, 20, 30)


@pytest.mark.requirement("G5", "L8")
@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ((0, 10, 20), "3 clips were measured instead of the 4 held-out clips of its draw: 1 of them are missing"),
        ((), "0 clips were measured instead of the 4 .*: 4 of them are missing"),
        ((0, 10, 20, 999), ": 1 of them are missing, and 1 were not drawn, the first at frame 999"),
        ((0, 10, 20, 30, 30), "5 clips were measured instead of the 4"),
        ((10, 0, 20, 30), "4 clips were measured instead of the 4"),
    ],
)
def test_an_error_on_other_clips_than_those_that_were_drawn_is_no_evidence(
    measured: tuple[int, ...], said: str
) -> None:
    found = judge_inference(evidence(drawn_starts=DRAWN, measured_starts=measured), ERROR_ONLY)
    assert found.verdict == INVALID
    (bad,) = [one for one in found.conditions if one.verdict != PASS]
    assert bad.id == "G5.clips"
    assert re.search(f"{said}.*; an error on other clips proves nothing", bad.reason)


@pytest.mark.requirement("L8", "H3")
def test_the_clips_and_the_sentence_of_a_final_verdict_are_those_of_the_second_draw() -> None:
    def final(**changes: Any) -> GateVerdict:
        seen = {"drawn_starts": DRAWN, "measured_starts": DRAWN, "draw": FINAL, **changes}
        return judge_inference(evidence(**seen), ERROR_ONLY)

    passed = final()
    assert "on 8 held-out clips of a second draw, which no retry has seen, is at most 0.03" in passed.sentence
    (clips,) = [one for one in passed.conditions if one.id == "G5.clips"]
    assert clips.reason.endswith("held-out clips of the second draw, in episodes that no attempt has measured")
    poor = final(measures=measures(mse=0.05, copy_last=0.1))
    assert poor.sentence.startswith(
        "FAIL: on held-out clips of a second draw, which no retry has seen, the rollout error 0.0500 is above"
    )


@pytest.mark.requirement("S5")
def test_a_condition_that_the_profile_does_not_ask_for_is_not_listed_and_cannot_fail() -> None:
    poor = measures(mse=0.029, copy_last=0.01, mean_frame=0.02, random_actions=0.02, codes=1)
    found = judge_inference(evidence(measures=poor), ERROR_ONLY)
    assert [condition.id for condition in found.conditions] == ["G1", "G2", "G3", "G4", "G5.log", "G5"]
    assert found.verdict == PASS


def test_the_threshold_itself_still_passes() -> None:
    found = measures()
    assert judge_inference(evidence(measures=found), error_and(max_mse=found.mse)).verdict == PASS
    below = math.nextafter(found.mse, 0.0)
    assert judge_inference(evidence(measures=found), error_and(max_mse=below)).verdict == FAIL


def test_invalid_evidence_comes_before_a_failure_and_both_are_reported() -> None:
    found = judge_inference(evidence(exit_code=3, measures=None, measures_problem="no file"), ERROR_ONLY)
    assert found.verdict == INVALID
    assert found.sentence == (
        "INVALID: the inference command ended with exit code 3, so its work is not done; its log has the reason. "
        "Follows from it: G5.measures."
    )


def test_a_run_that_claims_and_leaves_nothing_fails_and_one_without_any_check_is_still_no_pass() -> None:
    nothing = evidence(exit_code=1, log=log(mse=None), measures=None, measures_problem="no file")
    found = judge_inference(nothing, ERROR_ONLY)
    assert found.verdict == FAIL
    assert [one.id for one in found.conditions if one.verdict != PASS] == ["G1", "G5.log"]
    unchecked = judge_inference(nothing, ERROR_ONLY, without={"G1", "G5.log"})
    assert unchecked.verdict == INVALID
    assert "nothing evaluated is not a pass" in unchecked.sentence


def test_the_log_may_round_to_eight_decimals() -> None:
    found = measures(mse=0.0123456789)
    rounded = evidence(measures=found, log=log(mse=round(found.mse, 8)))
    assert judge_inference(rounded, ERROR_ONLY).verdict == PASS


def test_an_undefined_skill_fails_if_it_is_required() -> None:
    found = judge_measures(measures(copy_last=0.0), error_and(require_skill=True))
    assert found.verdict == FAIL
    assert "nothing moves in these clips, so the skill, which must be above 0, cannot be stated" in found.sentence
    assert "nan" not in found.sentence


def test_an_error_that_is_no_number_fails_every_condition_it_enters() -> None:
    broken = GateMeasures(**{**measures().as_dict(), **dict.fromkeys(("mse", "mse_high", "skill_low"), math.nan)})
    found = judge_measures(broken, STRICT)
    assert {one.id for one in found.conditions if one.verdict == FAIL} >= {"G5", "G5.interval", "G5.skill"}
    assert "the rollout error is nan, not a finite number: the model generates no pictures" in found.sentence
    (skill,) = [one for one in found.conditions if one.id == "G5.skill"]
    assert skill.reason == "the rollout error is nan, so the skill, which must be above 0, cannot be stated"
    assert re.search(
        r"no pictures\. Follows from it: G5\.interval, G5\.mean_frame \(mean frame 0\.0500\), G5\.skill",
        (found.sentence),
    )
    assert "nothing moves" not in found.sentence


def test_the_event_for_the_journal_holds_conditions_and_thresholds_as_plain_data() -> None:
    event = judge_inference(evidence(), STRICT).as_event()
    assert event["verdict"] == PASS
    assert event["conditions"][5] == {
        "id": "G5",
        "verdict": "PASS",
        "reason": "the rollout error 0.0100 is at most 0.03",
    }
    assert event["thresholds"] == STRICT.as_record()


BROKEN_LOG: dict[str, dict[str, Any]] = {
    "G2": {"checkpoints": OTHER_RUN},
    "G3": {"frames_inferred": 0},
}


@settings(max_examples=200, deadline=None)
@given(
    broken=st.sets(st.sampled_from(["G1", "G2", "G3", "G4", "unmeasured", "disagreement"])),
    mse=st.sampled_from([0.0, 0.004, 0.0299, 0.03, 0.031, 0.5]),
    copy_last=st.sampled_from([0.0, 0.003, 0.02, 0.6]),
    mean_frame=st.sampled_from([0.004, 0.05, 0.7]),
    random_actions=st.sampled_from([0.004, 0.04, 0.9]),
    codes=st.integers(1, 4),
    asked=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
def test_the_gate_passes_exactly_when_every_condition_holds(
    broken: set[str],
    mse: float,
    copy_last: float,
    mean_frame: float,
    random_actions: float,
    codes: int,
    asked: tuple[bool, bool, bool, bool, bool],
) -> None:
    found = measures(mse=mse, copy_last=copy_last, mean_frame=mean_frame, random_actions=random_actions, codes=codes)
    interval, skill, below_mean, control, used = asked
    thresholds = error_and_some(interval, skill, below_mean, control, used)
    stated = log(mse=found.mse + (0.001 if "disagreement" in broken else 0.0))
    for id in broken & BROKEN_LOG.keys():
        stated = type(stated)(**{**vars(stated), **BROKEN_LOG[id]})
    verdict = judge_inference(
        evidence(
            exit_code=1 if "G1" in broken else 0,
            log=stated,
            picture=None if "G4" in broken else "new.png",
            measures=None if "unmeasured" in broken else found,
        ),
        thresholds,
    )
    holds = (
        not broken
        and found.mse <= 0.03
        and (not interval or found.mse_high <= 0.03)
        and (not skill or found.skill_low > 0)
        and (not below_mean or found.mse_high < mean_frame)
        and (not control or found.delta_psnr_db >= 1.0)
        and (not used or codes >= 3 or (codes == 2 and (found.skill_strongest_low or 0.0) >= 0.8))
    )
    assert (verdict.verdict == PASS) == holds
    assert (verdict.verdict == INVALID) == bool(broken & {"unmeasured", "disagreement"})
    assert verdict.sentence.startswith(verdict.verdict)


@pytest.mark.requirement("S5")
def test_the_thresholds_of_every_shipped_profile_reach_the_verdict() -> None:
    """The long-run profile requires what closed-loop.md asks of it beside G5; smoke must beat the mean frame."""
    found = {
        name: resolve_settings(name, {}, project_root=REPOSITORY).profile.thresholds
        for name in ("smoke", "baseline", "longrun")
    }
    assert {name: one.max_mse for name, one in found.items()} == dict.fromkeys(found, 0.03)
    assert found["longrun"].require_mse_upper
    assert found["longrun"].require_skill
    assert found["smoke"].require_upper_below_mean_frame
    assert found["smoke"].require_skill_strongest
    assert found["longrun"].require_skill_strongest


@pytest.mark.requirement("S5")
def test_the_long_run_profiles_ask_for_all_that_the_gate_knows() -> None:
    for name in ("baseline", "longrun"):
        thresholds = resolve_settings(name, {}, project_root=REPOSITORY).profile.thresholds
        assert (thresholds.require_mse_upper, thresholds.require_skill) == (True, True), name
        assert thresholds.require_skill_strongest, name
        assert thresholds.min_object_share == 0.9, name
        assert thresholds.min_past_ratio == 1.05, name
        assert (thresholds.min_delta_psnr_db, thresholds.min_action_codes) == (0.5, 3), name
        assert thresholds.describe() == (
            "a rollout error of at most 0.03; the upper end of its 95 % interval at most 0.03 too; "
            "the upper end of its 95 % interval below the error of always answering the mean frame; "
            "the lower end of the skill's 95 % interval above 0 (better than copying the last frame); "
            "the same against the strongest prediction that needs no model (G8); "
            "at least 90 % of the small moving objects found in their place (G6); "
            "the context of another clip worse by a factor of at least 1.05 (G7); "
            "random actions worse by at least 0.5 dB; frames of the game with freely chosen codes; at least 3 action "
            "codes in use, which follow the true actions; clips of at least 20 episodes"
        ), name


VERDICTS = st.sampled_from([PASS, FAIL, INVALID])


@given(found=st.lists(VERDICTS, max_size=6), more=st.lists(st.sampled_from([FAIL, INVALID]), min_size=1, max_size=3))
def test_a_further_condition_that_does_not_hold_never_turns_a_failure_into_a_pass(
    found: list[str], more: list[str]
) -> None:
    def judged(verdicts: list[str]) -> str:
        others = [Condition(f"X{number}", one, "a reason") for number, one in enumerate(verdicts)]
        return judge_measures(measures(), STRICT, others).verdict

    assert (judged(found) == PASS) == all(one == PASS for one in found)
    assert judged([*found, *more]) != PASS
    assert not (judged(found) == INVALID and judged([*found, *more]) == FAIL)


@given(
    mse=st.sampled_from([0.004, 0.0299, 0.031]),
    copy_last=st.sampled_from([0.0, 0.003, 0.02, 0.6]),
    random_actions=st.sampled_from([0.004, 0.04, 0.9]),
    codes=st.integers(1, 4),
    loose=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    more=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
@pytest.mark.requirement("S5")
def test_asking_for_more_never_turns_a_failure_into_a_pass(
    mse: float,
    copy_last: float,
    random_actions: float,
    codes: int,
    loose: tuple[bool, ...],
    more: tuple[bool, ...],
) -> None:
    found = measures(mse=mse, copy_last=copy_last, random_actions=random_actions, codes=codes)

    def judged(asked: tuple[bool, ...]) -> str:
        interval, skill, below_mean, control, used = asked
        return judge_measures(found, error_and_some(interval, skill, below_mean, control, used)).verdict

    stricter = tuple(one or other for one, other in zip(loose, more, strict=True))
    assert not (judged(loose) == FAIL and judged(stricter) == PASS)


@pytest.mark.requirement("G5")
def test_a_game_of_two_moves_needs_both_codes_and_no_third() -> None:
    rule = error_and(min_action_codes=3)
    both = replace(measures(codes=2), action_shares=[0.5, 0.5])
    assert judge_inference(evidence(measures=both), rule).verdict == PASS
    one = replace(measures(codes=1), action_shares=[1.0, 0.0])
    found = judge_inference(evidence(measures=one), rule)
    assert found.verdict == FAIL
    assert "1 of the 2 action codes are in use, and all of them are required" in found.sentence
