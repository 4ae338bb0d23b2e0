"""S1–S4 over every history there can be: what is broken or missing never passes, and a threshold holds to the last bit.

pytest tests/unit/stages/test_verdict_properties.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinyworlds_gate.config.profile import DynamicsGate, LatentActionsGate, StageGates, VideoTokenizerGate
from tinyworlds_gate.config.schema import STAGE_SCHEMAS
from tinyworlds_gate.stages.verdicts import (
    StageVerdict,
    judge_dynamics,
    judge_latent_actions,
    judge_stage,
    judge_video_tokenizer,
)

S1, S2, S3 = VideoTokenizerGate(), LatentActionsGate(), DynamicsGate()
STAGE = st.sampled_from(list(STAGE_SCHEMAS))
ANY_LOSS = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)
"""Every number that a history file can hold, the largest float included."""
BROKEN = st.sampled_from([math.nan, math.inf, -math.inf])
CODES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 8).map(float))


def judged(stage: str, losses: Sequence[float], unique: float | None = 8, entropy: float | None = 2.0) -> StageVerdict:
    return judge_stage(stage, losses, StageGates(), unique_actions=unique, action_entropy_nats=entropy)


def just_above(value: float) -> float:
    """The next float."""
    return math.nextafter(value, math.inf)


def just_below(value: float) -> float:
    return math.nextafter(value, -math.inf)


@pytest.mark.requirement("S4")
@settings(max_examples=200, deadline=None)
@given(losses=st.lists(ANY_LOSS, max_size=60), stage=STAGE, bad=BROKEN, at=st.integers(0, 60), again=st.booleans())
def test_a_history_with_one_loss_that_is_no_number_is_never_accepted(
    losses: list[float], stage: str, bad: float, at: int, again: bool
) -> None:
    broken = [*losses[:at], bad, *losses[at:], *([bad] if again else [])]
    verdict = judged(stage, broken)
    assert (verdict.id, verdict.decision) == ("S4", "retune")
    assert str(bad) in verdict.reason
    assert verdict.measures["updates"] == len(broken)


@pytest.mark.requirement("S4")
@settings(max_examples=50, deadline=None)
@given(stage=STAGE, unique=CODES, entropy=CODES)
def test_an_empty_history_is_invalid_whatever_else_is_known(
    stage: str, unique: float | None, entropy: float | None
) -> None:
    verdict = judged(stage, [], unique, entropy)
    assert (verdict.id, verdict.decision) == ("S4", "invalid")


@pytest.mark.requirement("S1", "S2", "S3")
@settings(max_examples=300, deadline=None)
@given(losses=st.lists(ANY_LOSS, min_size=1, max_size=60), stage=STAGE)
@example(losses=[1.7e308, 1.7e308], stage="dynamics")
@example(losses=[0.0] * 4 + [sys.float_info.max] * 3, stage="video_tokenizer")
@example(losses=[5e-324], stage="video_tokenizer")
def test_any_history_of_numbers_gets_one_decision_that_its_measures_explain(losses: list[float], stage: str) -> None:
    """The sum of a chunk's losses may be beyond the largest float; their mean never is."""
    verdict = judged(stage, losses)
    assert verdict.decision in ("continue", "watch", "retune")
    assert verdict == judged(stage, tuple(losses))
    assert verdict.measures["final_loss"] == losses[-1]
    for name in ("late_mean", "middle_mean"):
        mean = verdict.measures[name]
        assert mean is not None
        assert min(losses) * (1 - 1e-9) <= mean <= max(losses) * (1 + 1e-9)


@pytest.mark.requirement("S1", "S2", "S3")
@settings(max_examples=200, deadline=None)
@given(losses=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60), stage=STAGE)
def test_a_stage_never_continues_above_its_limit(losses: list[float], stage: str) -> None:
    limit = {"video_tokenizer": 0.01, "latent_actions": 0.06, "dynamics": 5.0}[stage]
    if judged(stage, losses).decision == "continue":
        assert losses[-1] <= limit


@pytest.mark.requirement("S2")
@settings(max_examples=200, deadline=None)
@given(loss=st.floats(0.0, 1.0), unique=CODES, entropy=CODES)
def test_latent_actions_are_accepted_only_with_two_codes_that_were_measured(
    loss: float, unique: float | None, entropy: float | None
) -> None:
    verdict = judge_latent_actions([loss], unique, entropy, S2)
    known = unique is not None and entropy is not None and math.isfinite(unique) and math.isfinite(entropy)
    if not known:
        assert verdict.decision == "invalid"
    elif verdict.decision in ("continue", "watch"):
        assert unique is not None
        assert unique >= 2
        assert loss <= 0.1


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(
    ("final", "decision"),
    [
        (0.01, "continue"),
        (just_above(0.01), "watch"),
        (0.02, "watch"),
        (just_above(0.02), "retune"),
    ],
)
def test_the_tokenizer_s_limits_hold_to_the_last_bit(final: float, decision: str) -> None:
    assert judge_video_tokenizer([1.0, 1.0, final], S1).decision == decision


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(
    ("late", "decision"), [(1.05 * 0.008, "continue"), (just_above(1.05 * 0.008), "watch"), (0.008, "continue")]
)
def test_the_tokenizer_s_last_third_may_rise_by_a_twentieth_and_no_more(late: float, decision: str) -> None:
    assert judge_video_tokenizer([0.5, 0.008, late], S1).decision == decision


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    ("loss", "unique", "entropy", "decision"),
    [
        (0.06, 2, 0.4, "continue"),
        (just_above(0.06), 2, 0.4, "watch"),
        (0.1, 2, 0.0, "watch"),
        (just_above(0.1), 2, 0.4, "retune"),
        (0.06, just_below(2.0), 0.4, "retune"),
        (0.06, 2, just_below(0.4), "watch"),
        (0.06, 8, just_above(0.4), "continue"),
    ],
)
def test_the_latent_action_limits_hold_to_the_last_bit(
    loss: float, unique: float, entropy: float, decision: str
) -> None:
    assert judge_latent_actions([loss], unique, entropy, S2).decision == decision


# Thirds of one loss each; the first and the last are also the first and the last tenth.
@pytest.mark.requirement("S3")
@pytest.mark.parametrize(
    ("losses", "decision"),
    [
        ([7.0, 7.0, 5.0], "continue"),
        ([7.0, 7.0, just_above(5.0)], "watch"),
        ([4.0, 4.0, 1.02 * 4.0], "continue"),
        ([4.0, 4.0, just_above(1.02 * 4.0)], "watch"),
        ([4.0, 4.0, 1.08 * 4.0], "watch"),
        ([4.0, 4.0, just_above(1.08 * 4.0)], "retune"),
        # The rise from first to last: 0.25 and 0.5 are exact in binary (a profile's 0.25 stands for the 0.2 of S3).
        ([4.0, 4.5, 4.5], "watch"),
        ([4.0, 4.5, just_above(4.5)], "retune"),
        # At 6 and above a rising loss is a retune at once, however gently it rises.
        ([9.0, just_below(6.0), 6.0], "retune"),
        ([9.0, 6.0, 6.0], "watch"),
        ([9.0, just_below(6.0), just_below(6.0)], "watch"),
    ],
)
def test_the_dynamics_limits_hold_to_the_last_bit(losses: list[float], decision: str) -> None:
    assert judge_dynamics(losses, S3).decision == decision


@pytest.mark.requirement("S3", "S5")
@pytest.mark.parametrize(("last", "decision"), [(4.25, "continue"), (just_above(4.25), "watch")])
def test_the_rise_that_dynamics_may_show_is_the_profile_s_to_the_last_bit(last: float, decision: str) -> None:
    gate = DynamicsGate(continue_rise=0.25)
    assert judge_dynamics([4.0, 4.25, last], gate).decision == decision


@pytest.mark.requirement("S3")
@settings(max_examples=200, deadline=None)
@given(middle=st.floats(0.0, 20.0), late=st.floats(6.0, 20.0), early=st.floats(0.0, 20.0), third=st.integers(1, 15))
def test_a_diverged_loss_that_still_rises_is_never_accepted(
    early: float, middle: float, late: float, third: int
) -> None:
    verdict = judge_dynamics([early] * third + [middle] * third + [late] * third, S3)
    if late > middle:
        assert verdict.decision == "retune"
