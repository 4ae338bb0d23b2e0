"""The conditions on what a rollout measured: G5, and each stricter one that the profile requires."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.action_rules import judge_codes, judge_played, judge_true_actions
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.object_rule import judge_objects
from tinyworlds_gate.gate.past_rule import judge_past
from tinyworlds_gate.names import FAIL, INVALID, PASS

MOST_DIGITS = 10


@dataclass(frozen=True)
class Condition:
    """One condition with its verdict and the sentence for it: the number, the limit and what it means."""

    id: str
    verdict: str
    reason: str


def measured_conditions(measures: GateMeasures, thresholds: GateThresholds) -> list[Condition]:
    """The condition on the error, and those on the other measures that the thresholds require."""
    rules: tuple[Callable[[GateMeasures, GateThresholds], Condition | None], ...]
    rules = (_error, _sample, _upper_end, _below_mean_frame, _skill, _objects, _past, _strongest)
    rules += (_control, _played, _codes, _true_actions)
    return [condition for rule in rules if (condition := rule(measures, thresholds)) is not None]


def apart(value: float, limit: float, digits: int = 4) -> str:
    """A number with ``digits`` decimals, or with as many as it takes to tell it from the limit."""
    for shown in range(digits, MOST_DIGITS):
        if value == limit or f"{value:.{shown}f}" != f"{limit:.{shown}f}":
            return f"{value:.{shown}f}"
    return repr(value)


def _pass_or_fail(id: str, holds: bool, passed: str, failed: str) -> Condition:
    return Condition(id, PASS if holds else FAIL, passed if holds else failed)


def _error(measures: GateMeasures, thresholds: GateThresholds) -> Condition:
    mse, limit = measures.mse, thresholds.max_mse
    if not math.isfinite(mse):
        return Condition(
            "G5", FAIL, f"the rollout error is {mse}, not a finite number: the model generates no pictures"
        )
    shown = apart(mse, limit)
    return _pass_or_fail(
        "G5",
        mse <= limit,
        f"the rollout error {shown} is at most {limit:g}",
        f"the rollout error {shown} is above the limit {limit:g}: the generated frames are too far from the true ones "
        f"(copying the last frame scores {measures.copy_last_mse:.4f})",
    )


def _sample(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    clips, episodes, least = measures.clips, measures.episodes, thresholds.min_episodes
    if least is None:
        return None
    what = (
        f"{clips} {'clip was' if clips == 1 else 'clips were'} measured in {episodes} "
        f"{'episode' if episodes == 1 else 'episodes'}, at least {least} episodes are required"
    )
    return _pass_or_fail(
        "G5.sample", episodes >= least, what, f"{what}: an error on so few may be luck, and its interval says nothing"
    )


def _upper_end(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if not thresholds.require_mse_upper:
        return None
    high, limit = measures.mse_high, thresholds.max_mse
    what = f"the upper end {apart(high, limit)} of the error's 95 % interval"
    return _pass_or_fail(
        "G5.interval",
        high <= limit,
        f"{what} is at most {limit:g}",
        f"{what} is not within the limit {limit:g}: on other clips the error may well lie above it",
    )


def _below_mean_frame(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if not thresholds.require_upper_below_mean_frame:
        return None
    high, mean = measures.mse_high, measures.mean_frame_mse
    what = f"the upper end {apart(high, mean)} of the error's 95 % interval"
    always = f"{apart(mean, high)}, the error of always answering the mean frame"
    return _pass_or_fail(
        "G5.mean_frame",
        high < mean,
        f"{what} is below {always}",
        f"{what} is not below {always}: the model may know no more than the average picture",
    )


def _skill(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if not thresholds.require_skill:
        return None
    skill, low, copied = measures.skill, measures.skill_low, f"{measures.copy_last_mse:.4f}"
    if low > 0:
        interval = f"skill {skill:.2f} (95 % interval from {low:.2f})"
        return Condition("G5.skill", PASS, f"{interval} against copying the last frame, which scores {copied}")
    limit = f"the lower end of its 95 % interval, {low:.2f}, must be above 0"
    if not math.isfinite(measures.mse):
        reason = f"the rollout error is {measures.mse}, so the skill, which must be above 0, cannot be stated"
    elif math.isnan(skill):
        reason = (
            f"copying the last frame scores {copied}: nothing moves in these clips, so the skill, which must be above "
            "0, cannot be stated"
        )
    elif skill < 0:
        reason = f"{worse_than_copying(measures, thresholds)}. Skill is {skill:.2f}, and {limit}"
    else:
        reason = (
            f"skill is {skill:.2f} against copying the last frame, which scores {copied}, but {limit}: that the model "
            "predicts better than no motion at all is not shown"
        )
    return Condition("G5.skill", FAIL, reason)


def _objects(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if thresholds.min_object_share is None:
        return None
    return Condition("G6", *judge_objects(measures.objects, thresholds.min_object_share))


def _past(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if thresholds.min_past_ratio is None:
        return None
    return Condition("G7", *judge_past(measures.past, thresholds.min_past_ratio))


def _strongest(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if not thresholds.require_skill_strongest:
        return None
    skill, low, name = measures.skill_strongest, measures.skill_strongest_low, measures.strongest_baseline
    if skill is None or low is None:
        reason = "the predictions that need no model were not computed for these clips; run inference again"
        return Condition("G8", INVALID, reason)
    against = strongest_text(measures)
    if low > 0:
        return Condition("G8", PASS, f"skill {skill:.2f} (95 % interval from {low:.2f}) against {against}")
    if not math.isfinite(measures.mse):
        reason = f"the rollout error is {measures.mse}, so the skill against {against} cannot be computed"
    elif math.isnan(skill):
        reason = f"{against} has no error, so no model can be better: measure clips that it does not predict"
    elif skill < 0:
        error = apart(measures.mse, measures.strongest_baseline_mse or 0.0)
        reason = f"the rollout error {error} is above that of {against}: the model predicts worse than no model"
    else:
        reason = (
            f"skill is {skill:.2f} against {against}, but the lower end of its 95 % interval, {low:.2f}, must be above "
            f"0: that the model knows more than the {name} is not shown"
        )
    return Condition("G8", FAIL, reason)


def strongest_text(measures: GateMeasures) -> str:
    """The strongest prediction that needs no model, with its error."""
    mse = apart(measures.strongest_baseline_mse or 0.0, measures.mse)
    return f"the strongest prediction without a model, the {measures.strongest_baseline} ({mse})"


def worse_than_copying(measures: GateMeasures, thresholds: GateThresholds) -> str:
    """The clause on a model whose skill is negative: it says so even where the error is within the limit."""
    error, copied = apart(measures.mse, measures.copy_last_mse), apart(measures.copy_last_mse, measures.mse)
    if measures.mse <= thresholds.max_mse:
        within = "under" if measures.mse < thresholds.max_mse else "at the limit"
        what = (
            f"the rollout error {error} is {within} {thresholds.max_mse:g}, but copying the last frame scores {copied};"
        )
    else:
        what = f"copying the last frame scores {copied}, less than the model's {error};"
    return f"{what} the model predicts worse than no motion at all"


def _control(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    cost, least_db = measures.delta_psnr_db, thresholds.min_delta_psnr_db
    if least_db is None:
        return None
    what = f"random actions cost {apart(cost, least_db, 2)} dB, at least {least_db:g} dB are required"
    return _pass_or_fail(
        "G5.control", cost >= least_db, what, f"{what}: the actions hardly steer what the model predicts"
    )


def _played(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if thresholds.min_delta_psnr_db is None:
        return None
    return Condition("G5.played", *judge_played(measures.played))


def _codes(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if thresholds.min_action_codes is None:
        return None
    there_are = len(measures.action_shares) if measures.action_shares else thresholds.min_action_codes
    skill = measures.skill_strongest_low
    return Condition(
        "G5.codes",
        *judge_codes(measures.action_codes_used, thresholds.min_action_codes, there_are, measures.actions, skill),
    )


def _true_actions(measures: GateMeasures, thresholds: GateThresholds) -> Condition | None:
    if thresholds.min_action_codes is None:
        return None
    return Condition("G5.true_actions", *judge_true_actions(measures.actions))
