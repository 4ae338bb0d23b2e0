"""G5 and what a profile adds to it, from the measures: each with its number, its limit and what it means."""

from __future__ import annotations

import math

from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.thresholds import Condition, GateThresholds
from tinyworlds_gate.names import FAIL, PASS

MOST_DIGITS = 10


def measured_conditions(measures: GateMeasures, thresholds: GateThresholds) -> list[Condition]:
    """The error always; each stricter condition only when the profile asks for it."""
    found = [_error(measures, thresholds)]
    if thresholds.min_episodes is not None:
        found.append(_sample(measures, thresholds.min_episodes))
    if thresholds.require_mse_upper:
        found.append(_upper_end(measures, thresholds))
    if thresholds.require_upper_below_mean_frame:
        found.append(_below_mean_frame(measures))
    if thresholds.require_skill:
        found.append(_skill(measures, thresholds))
    if thresholds.min_delta_psnr_db is not None:
        found.append(_control(measures, thresholds.min_delta_psnr_db))
    if thresholds.min_action_codes is not None:
        found.append(_codes(measures, thresholds.min_action_codes))
    return found


def apart(value: float, limit: float, digits: int = 4) -> str:
    """A number with ``digits`` decimals, or as many that a reader sees on which side of the limit it lies."""
    for shown in range(digits, MOST_DIGITS):
        if value == limit or f"{value:.{shown}f}" != f"{limit:.{shown}f}":
            return f"{value:.{shown}f}"
    return repr(value)


def _judged(id: str, holds: bool, passed: str, failed: str) -> Condition:
    return Condition(id, PASS if holds else FAIL, passed if holds else failed)


def _error(measures: GateMeasures, thresholds: GateThresholds) -> Condition:
    mse, limit = measures.mse, thresholds.max_mse
    if not math.isfinite(mse):
        return Condition(
            "G5", FAIL, f"the rollout error is {mse}, not a finite number: the model generates no pictures"
        )
    shown = apart(mse, limit)
    return _judged(
        "G5",
        mse <= limit,
        f"the rollout error {shown} is at most {limit:g}",
        f"the rollout error {shown} is above the limit {limit:g}: the generated frames are too far from the true ones "
        f"(copying the last frame scores {measures.copy_last_mse:.4f})",
    )


def _sample(measures: GateMeasures, least: int) -> Condition:
    clips, episodes = measures.clips, measures.episodes
    what = (
        f"{clips} {'clip was' if clips == 1 else 'clips were'} measured in {episodes} "
        f"{'episode' if episodes == 1 else 'episodes'}, at least {least} episodes are asked for"
    )
    return _judged(
        "G5.sample", episodes >= least, what, f"{what}: an error on so few may be luck, and its interval says nothing"
    )


def _upper_end(measures: GateMeasures, thresholds: GateThresholds) -> Condition:
    high, limit = measures.mse_high, thresholds.max_mse
    what = f"the upper end {apart(high, limit)} of the error's 95 % interval"
    return _judged(
        "G5.interval",
        high <= limit,
        f"{what} is at most {limit:g}",
        f"{what} is not within the limit {limit:g}: on other clips the error may well lie above it",
    )


def _below_mean_frame(measures: GateMeasures) -> Condition:
    high, mean = measures.mse_high, measures.mean_frame_mse
    what = f"the upper end {apart(high, mean)} of the error's 95 % interval"
    always = f"{apart(mean, high)}, the error of always answering the mean frame"
    return _judged(
        "G5.mean_frame",
        high < mean,
        f"{what} is below {always}",
        f"{what} is not below {always}: the model may know no more than the average picture",
    )


def _skill(measures: GateMeasures, thresholds: GateThresholds) -> Condition:
    skill, low, copied = measures.skill, measures.skill_low, f"{measures.copy_last_mse:.4f}"
    if low > 0:
        interval = f"skill {skill:.2f} (95 % interval from {low:.2f})"
        return Condition("G5.skill", PASS, f"{interval} against copying the last frame, which scores {copied}")
    asked = f"the lower end of its 95 % interval, {low:.2f}, must be above 0"
    if not math.isfinite(measures.mse):
        told = f"the rollout error is {measures.mse}, so the skill, which must be above 0, cannot be stated"
    elif math.isnan(skill):
        told = (
            f"copying the last frame scores {copied}: nothing moves in these clips, so the skill, which must be above "
            "0, cannot be stated"
        )
    elif skill < 0:
        told = f"{worse_than_copying(measures, thresholds)}. Skill is {skill:.2f}, and {asked}"
    else:
        told = (
            f"skill is {skill:.2f} against copying the last frame, which scores {copied}, but {asked}: that the model "
            "predicts better than no motion at all is not shown"
        )
    return Condition("G5.skill", FAIL, told)


def worse_than_copying(measures: GateMeasures, thresholds: GateThresholds) -> str:
    """The clause on a model whose skill is negative; "under" the limit is no praise then."""
    error, copied = apart(measures.mse, measures.copy_last_mse), apart(measures.copy_last_mse, measures.mse)
    if measures.mse <= thresholds.max_mse:
        within = "under" if measures.mse < thresholds.max_mse else "at the limit"
        what = (
            f"the rollout error {error} is {within} {thresholds.max_mse:g}, but copying the last frame scores {copied};"
        )
    else:
        what = f"copying the last frame scores {copied}, less than the model's {error};"
    return f"{what} the model predicts worse than no motion at all"


def _control(measures: GateMeasures, least_db: float) -> Condition:
    cost = measures.delta_psnr_db
    what = f"random actions cost {apart(cost, least_db, 2)} dB, at least {least_db:g} dB are asked for"
    return _judged("G5.control", cost >= least_db, what, f"{what}: the actions hardly steer what the model predicts")


def _codes(measures: GateMeasures, least: int) -> Condition:
    used = measures.action_codes_used
    what = f"{used} action {'code is' if used == 1 else 'codes are'} in use, at least {least} are asked for"
    return _judged("G5.codes", used >= least, what, f"{what}: so few cannot tell the moves of a player apart")
