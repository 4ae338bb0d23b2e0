"""S1–S3: judge a stage by the losses of a finished chunk. Pure functions over plain numbers.

Decisions: ``continue`` (train on), ``watch`` (train on, but a person should look), ``retune`` (change parameters and
train the chunk again), ``invalid`` (there is nothing to judge: evidence is missing). The loop goes on after ``watch``;
a stage that reaches its target on ``watch`` passes with that remark, and the report shows it.

Thirds and tenths of short histories: with n losses the middle third is ``losses[n//3 : 2*n//3]`` and the late third the
rest; a tenth has ``max(1, n//10)`` losses. A single loss is its own middle and late third, so that it neither rises nor
falls.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tinyworlds_gate.config.profile import DynamicsGate, LatentActionsGate, StageGates, VideoTokenizerGate
from tinyworlds_gate.config.schema import Schema

Decision = Literal["continue", "watch", "retune", "invalid"]
Number = float | int | None


@dataclass(frozen=True)
class StageVerdict:
    """The verdict of one stage gate after a chunk."""

    id: str
    """S1, S2, S3, or S4 when the losses themselves cannot be trusted."""
    decision: Decision
    reason: str
    measures: Mapping[str, Number]
    """What was measured; None where it is missing."""
    thresholds: Mapping[str, Number]
    """The thresholds used (S5)."""


def judge_video_tokenizer(losses: Sequence[float], thresholds: VideoTokenizerGate) -> StageVerdict:
    """S1: the tokenizer's loss is low and no longer rises.

    Args:
        losses: the chunk's training losses (smooth-L1) in order, one an update.
    """
    limits, trend = _numbers(thresholds), _trend(losses)
    if trend is None:
        return _untrusted(losses, limits)
    final, late, middle = trend.final, trend.late, trend.middle
    low = final <= thresholds.continue_loss
    steady = late <= thresholds.late_over_middle * middle
    if low and steady:
        decision: Decision = "continue"
        reason = (
            f"The final loss {final:.4g} is at most {thresholds.continue_loss:g} and the last third does not rise "
            f"(mean {late:.4g} after {middle:.4g})."
        )
    elif final <= thresholds.watch_loss:
        decision = "watch"
        what = (
            f"the last third rises (mean {late:.4g}, more than {thresholds.late_over_middle:g} times {middle:.4g})"
            if low
            else f"it is not yet at most {thresholds.continue_loss:g}"
        )
        reason = f"The final loss {final:.4g} is at most {thresholds.watch_loss:g}, but {what}."
    else:
        decision = "retune"
        reason = (
            f"The final loss {final:.4g} is above {thresholds.watch_loss:g}: the tokenizer reconstructs too poorly."
        )
    return StageVerdict("S1", decision, reason, trend.measures(), limits)


def judge_latent_actions(
    losses: Sequence[float],
    unique_actions: float | None,
    action_entropy_nats: float | None,
    thresholds: LatentActionsGate,
) -> StageVerdict:
    """S2: the latent-action model predicts, and its codes have not collapsed into one.

    Args:
        losses: the chunk's training losses in order, one an update.
        unique_actions: codes in use at the chunk's end (``unique_actions`` of the history); None when it is missing.
        action_entropy_nats: entropy of the codes at the chunk's end; None when it is missing.
    """
    limits, trend = _numbers(thresholds), _trend(losses)
    if trend is None:
        return _untrusted(losses, limits)
    measures = trend.measures() | {"unique_actions": unique_actions, "action_entropy_nats": action_entropy_nats}
    unique, entropy = (math.nan if value is None else value for value in (unique_actions, action_entropy_nats))
    missing = [
        name for name, value in (("unique_actions", unique), ("action_entropy", entropy)) if not math.isfinite(value)
    ]
    if missing:
        reason = (
            f"The history has no finite {' and no finite '.join(missing)}, so nobody can tell whether the codes differ."
        )
        return StageVerdict("S2", "invalid", reason, measures, limits)
    final = trend.final
    enough = unique >= thresholds.min_unique_actions
    spread = entropy >= thresholds.min_action_entropy_nats
    codes = f"{unique:g} action codes in use, entropy {entropy:.3g} nats"
    if final <= thresholds.continue_loss and enough and spread:
        decision: Decision = "continue"
        reason = f"The final loss {final:.4g} is at most {thresholds.continue_loss:g}, with {codes}."
    elif not enough:
        decision = "retune"
        reason = (
            f"The actions have collapsed: {codes}, needed are at least {thresholds.min_unique_actions} codes. A model "
            "with one action cannot be controlled."
        )
    elif final <= thresholds.watch_loss:
        decision = "watch"
        what = (
            f"it is not yet at most {thresholds.continue_loss:g}"
            if final > thresholds.continue_loss
            else f"the entropy is below {thresholds.min_action_entropy_nats:g} nats"
        )
        reason = f"The final loss {final:.4g} is at most {thresholds.watch_loss:g} with {codes}, but {what}."
    else:
        decision = "retune"
        reason = f"The final loss {final:.4g} is above {thresholds.watch_loss:g}."
    return StageVerdict("S2", decision, reason, measures, limits)


def judge_dynamics(losses: Sequence[float], thresholds: DynamicsGate) -> StageVerdict:
    """S3: dynamics learns and does not diverge.

    "Rising" is a late third whose mean lies above the middle third's.

    Args:
        losses: the chunk's training losses (cross-entropy, nats) in order, one an update.
    """
    limits, trend = _numbers(thresholds), _trend(losses)
    if trend is None:
        return _untrusted(losses, limits)
    final, late, middle = trend.final, trend.late, trend.middle
    tenth = max(1, len(losses) // 10)
    rise = mean(losses[-tenth:]) - mean(losses[:tenth])
    shape = f"late third {late:.4g} after middle third {middle:.4g}, last tenth minus first tenth {rise:+.3g}"
    if final >= thresholds.diverged_loss and late > middle:
        decision: Decision = "retune"
        reason = f"The loss diverges: {final:.4g} is at least {thresholds.diverged_loss:g} and rising ({shape})."
    elif (
        late <= thresholds.continue_late_over_middle * middle
        and rise <= thresholds.continue_rise
        and final <= thresholds.continue_loss
    ):
        decision = "continue"
        reason = f"The final loss {final:.4g} is at most {thresholds.continue_loss:g} and does not rise ({shape})."
    elif late <= thresholds.watch_late_over_middle * middle and rise <= thresholds.watch_rise:
        decision = "watch"
        what = (
            f"is not yet at most {thresholds.continue_loss:g}" if final > thresholds.continue_loss else "rises a little"
        )
        reason = f"The final loss {final:.4g} {what} ({shape})."
    else:
        decision = "retune"
        reason = f"The loss rises ({shape}); the final loss is {final:.4g}."
    return StageVerdict("S3", decision, reason, trend.measures() | {"rise": rise}, limits)


def judge_stage(
    stage: str,
    losses: Sequence[float],
    gates: StageGates,
    unique_actions: float | None = None,
    action_entropy_nats: float | None = None,
) -> StageVerdict:
    """The verdict of a stage by its name.

    Raises:
        ValueError: the name is no stage.
    """
    if stage == "video_tokenizer":
        return judge_video_tokenizer(losses, gates.video_tokenizer)
    if stage == "latent_actions":
        return judge_latent_actions(losses, unique_actions, action_entropy_nats, gates.latent_actions)
    if stage == "dynamics":
        return judge_dynamics(losses, gates.dynamics)
    raise ValueError(f"{stage!r} is no stage")


@dataclass(frozen=True)
class _Trend:
    """Where a history of finite losses ends and whether it rises."""

    updates: int
    final: float
    late: float
    middle: float

    def measures(self) -> dict[str, Number]:
        return {
            "updates": self.updates,
            "final_loss": self.final,
            "late_mean": self.late,
            "middle_mean": self.middle,
        }


def _trend(losses: Sequence[float]) -> _Trend | None:
    """The trend, or None when the losses are missing or not finite."""
    if not losses or not all(math.isfinite(loss) for loss in losses):
        return None
    count = len(losses)
    late = losses[2 * count // 3 :]
    middle = losses[count // 3 : 2 * count // 3] or late
    return _Trend(count, float(losses[-1]), mean(late), mean(middle))


def _untrusted(losses: Sequence[float], limits: Mapping[str, Number]) -> StageVerdict:
    """S4: the verdict when the losses themselves cannot be judged."""
    measures: dict[str, Number] = {"updates": len(losses), "final_loss": None, "late_mean": None, "middle_mean": None}
    if not losses:
        reason = "The chunk's history has no loss: nothing was measured, so nothing is judged."
        return StageVerdict("S4", "invalid", reason, measures, limits)
    bad = [index for index, loss in enumerate(losses) if not math.isfinite(loss)]
    reason = (
        f"The loss is {losses[bad[0]]} at update {bad[0] + 1} of the chunk's {len(losses)} ({len(bad)} not finite): "
        "training has broken down."
    )
    return StageVerdict("S4", "retune", reason, measures, limits)


def mean(values: Sequence[float]) -> float:
    """The mean of finite numbers, also where their sum exceeds the largest float."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return statistics.mean(values)  # Exact rational arithmetic: slow, but no intermediate overflow.


def _numbers(thresholds: Schema) -> dict[str, Number]:
    return dict(thresholds.model_dump())
