"""S1, S2, S3: decisions at, just inside and just outside each threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
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


def history(early: float, middle: float, late: float, final: float | None = None, third: int = 10) -> list[float]:
    """Three flat thirds; with `final`, the last loss alone is another."""
    losses = [early] * third + [middle] * third + [late] * third
    if final is not None:
        losses[-1] = final
    return losses


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(
    ("losses", "decision"),
    [
        (history(0.05, 0.01, 0.01), "continue"),
        (history(0.05, 0.008, 0.0084), "continue"),
        (history(0.05, 0.008, 0.0085), "watch"),
        (history(0.05, 0.02, 0.0101), "watch"),
        (history(0.05, 0.03, 0.02), "watch"),
        (history(0.05, 0.005, 0.02), "watch"),
        (history(0.05, 0.03, 0.0201), "retune"),
        (history(0.001, 0.001, 0.5), "retune"),
        ([0.01], "continue"),
        ([0.005, 0.01], "watch"),
        ([0.02, 0.01], "continue"),
        ([0.5], "retune"),
    ],
)
def test_the_tokenizer_gate_follows_its_thresholds(losses: list[float], decision: str) -> None:
    verdict = judge_video_tokenizer(losses, S1)
    assert (verdict.id, verdict.decision) == ("S1", decision)


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    ("loss", "unique", "entropy", "decision"),
    [
        (0.06, 2, 0.4, "continue"),
        (0.0601, 2, 0.4, "watch"),
        (0.1, 2, 0.4, "watch"),
        (0.1001, 8, 2.0, "retune"),
        (0.06, 1, 0.4, "retune"),
        (0.01, 1, 0.0, "retune"),
        (0.06, 2, 0.399, "watch"),
        (0.09, 2, 0.0, "watch"),
        (0.06, 0, 0.0, "retune"),
    ],
)
def test_the_latent_action_gate_follows_its_thresholds(loss: float, unique: int, entropy: float, decision: str) -> None:
    verdict = judge_latent_actions([0.3, 0.2, loss], unique, entropy, S2)
    assert (verdict.id, verdict.decision) == ("S2", decision)


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(("unique", "entropy"), [(None, 1.0), (4, None), (math.nan, 1.0), (4, math.nan)])
def test_missing_action_codes_are_invalid_and_not_a_pass(unique: float | None, entropy: float | None) -> None:
    verdict = judge_latent_actions([0.01], unique, entropy, S2)
    assert verdict.decision == "invalid"
    assert "nobody can tell whether the codes differ" in verdict.reason


@pytest.mark.requirement("S3")
@pytest.mark.parametrize(
    ("losses", "decision"),
    [
        (history(6.0, 4.0, 4.0), "continue"),
        (history(6.0, 4.0, 4.08), "continue"),
        (history(6.0, 4.0, 4.09), "watch"),
        (history(4.0, 4.1, 4.18), "continue"),
        (history(4.0, 4.2, 4.21), "watch"),
        (history(4.0, 4.3, 4.5), "watch"),
        (history(4.0, 4.4, 4.51), "retune"),
        (history(6.0, 4.0, 4.32), "watch"),
        (history(6.0, 4.0, 4.33), "retune"),
        (history(6.0, 5.5, 5.0), "continue"),
        (history(6.5, 5.5, 5.01), "watch"),
        (history(6.9, 6.5, 6.2), "watch"),
        (history(6.9, 6.0, 6.1, final=6.0), "retune"),
        (history(6.9, 6.0, 6.01, final=5.99), "watch"),
        (history(1.8, 4.0, 7.4), "retune"),
        ([3.0], "continue"),
        ([3.0, 3.0], "continue"),
        ([1.0, 3.0], "retune"),
    ],
)
def test_the_dynamics_gate_follows_its_thresholds(losses: list[float], decision: str) -> None:
    verdict = judge_dynamics(losses, S3)
    assert (verdict.id, verdict.decision) == ("S3", decision)


@pytest.mark.requirement("S3")
def test_a_high_learning_rate_that_diverges_is_retuned() -> None:
    losses = [1.8 + (7.4 - 1.8) * step / 540 for step in range(541)]
    verdict = judge_dynamics(losses, S3)
    assert verdict.decision == "retune"
    assert "diverges" in verdict.reason
    assert "diverges" not in judge_dynamics([S3.diverged_loss + 1.0] * 60, S3).reason, "it is high and does not rise"
    assert "diverges" in judge_dynamics([S3.diverged_loss - 0.01] * 59 + [S3.diverged_loss], S3).reason


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("stage", list(STAGE_SCHEMAS))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_asks_for_a_retune(stage: str, bad: float) -> None:
    verdict = judge_stage(stage, [0.001, bad, 0.001], StageGates(), unique_actions=8, action_entropy_nats=2.0)
    assert (verdict.id, verdict.decision) == ("S4", "retune")
    assert "at update 2 of the chunk's 3 (1 not finite)" in verdict.reason
    assert verdict.measures["final_loss"] is None


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("stage", list(STAGE_SCHEMAS))
def test_no_loss_is_invalid_and_not_a_pass(stage: str) -> None:
    verdict = judge_stage(stage, [], StageGates(), unique_actions=8, action_entropy_nats=2.0)
    assert (verdict.id, verdict.decision) == ("S4", "invalid")
    assert "nothing was measured" in verdict.reason


@pytest.mark.requirement("S5")
def test_a_profile_of_its_own_thresholds_decides_and_is_reported() -> None:
    losses = history(0.5, 0.03, 0.03)
    assert judge_video_tokenizer(losses, S1).decision == "retune"
    lenient = judge_video_tokenizer(losses, VideoTokenizerGate(continue_loss=0.05, watch_loss=0.06))
    assert lenient.decision == "continue"
    assert lenient.thresholds == {"continue_loss": 0.05, "watch_loss": 0.06, "late_over_middle": 1.05}


def test_measures_name_what_was_compared() -> None:
    verdict = judge_dynamics([4.0, 3.0, 2.0, 1.0, 1.0, 1.0], S3)
    assert verdict.measures == {"updates": 6, "final_loss": 1.0, "late_mean": 1.0, "middle_mean": 1.5, "rise": -3.0}


@pytest.mark.requirement("S1", "S3")
@pytest.mark.parametrize(
    ("losses", "middle", "late"),
    [
        ([4.0, 3.0, 2.0, 1.0], 3.0, 1.5),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 3.5, 1.5),
        ([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 4.5, 2.0),
        ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 5.0, 2.0),
    ],
)
def test_the_thirds_of_a_history_that_three_does_not_divide(losses: list[float], middle: float, late: float) -> None:
    """With n losses: ``[n//3 : 2*n//3]`` and the rest."""
    for verdict in (judge_video_tokenizer(losses, S1), judge_dynamics(losses, S3)):
        assert (verdict.measures["middle_mean"], verdict.measures["late_mean"]) == (middle, late)


@pytest.mark.requirement("S3")
@pytest.mark.parametrize(("count", "rise"), [(9, 8.0), (19, 18.0), (20, 18.0), (29, 27.0)])
def test_the_rise_compares_the_last_tenth_with_the_first(count: int, rise: float) -> None:
    assert judge_dynamics([float(n) for n in range(count)], S3).measures["rise"] == pytest.approx(rise)


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="'tokenizer' is no stage"):
        judge_stage("tokenizer", [1.0], StageGates())


LOSSES = st.lists(st.floats(min_value=0.0, max_value=1e6), min_size=1, max_size=60)
ORDER = {"retune": 0, "watch": 1, "continue": 2}


def judged(stage: str, losses: Sequence[float]) -> StageVerdict:
    return judge_stage(stage, losses, StageGates(), unique_actions=8, action_entropy_nats=2.0)


@pytest.mark.requirement("S1", "S2", "S3")
@settings(max_examples=150, deadline=None)
@given(losses=LOSSES, stage=st.sampled_from(list(STAGE_SCHEMAS)))
def test_every_history_gets_a_decision_with_a_reason(losses: list[float], stage: str) -> None:
    verdict = judged(stage, losses)
    assert verdict.decision in ORDER
    assert verdict.reason.endswith((".", "controlled."))
    assert verdict.measures["updates"] == len(losses)


@pytest.mark.requirement("S1", "S2")
@settings(max_examples=150, deadline=None)
@given(losses=LOSSES, stage=st.sampled_from(["video_tokenizer", "latent_actions"]), factor=st.floats(1.0, 100.0))
def test_a_history_that_is_worse_throughout_is_never_judged_better(
    losses: list[float], stage: str, factor: float
) -> None:
    # At factors that round, a ratio of means may move by one unit in the last place: powers of two do not round.
    scale = 2.0 ** math.floor(math.log2(factor))
    worse = judged(stage, [loss * scale for loss in losses])
    assert ORDER[worse.decision] <= ORDER[judged(stage, losses).decision]


@pytest.mark.requirement("S4")
@settings(max_examples=60, deadline=None)
@given(losses=LOSSES, stage=st.sampled_from(list(STAGE_SCHEMAS)), at=st.integers(0, 60))
def test_one_broken_loss_anywhere_is_never_a_pass(losses: list[float], stage: str, at: int) -> None:
    broken = [*losses[:at], math.nan, *losses[at:]]
    assert judged(stage, broken).decision == "retune"
