"""The verdict of the inference gate: G1 to G5 and the profile's stricter conditions, as a pure function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinyworlds_gate.gate.inference_log import InferenceLog
from tinyworlds_gate.gate.measures import GateMeasures
from tinyworlds_gate.names import FAIL, INVALID, PASS, STAGES

LOG_AGREEMENT = 1e-6
"""The log prints eight decimals; its error and the one from the clips may differ by no more."""


@dataclass(frozen=True)
class GateThresholds:
    """What the profile asks for; printed with every verdict (S5)."""

    max_mse: float = 0.03
    require_mse_upper: bool = False
    require_skill: bool = False
    require_upper_below_mean_frame: bool = False
    min_delta_psnr_db: float | None = None
    min_action_codes: int | None = None


@dataclass(frozen=True)
class InferenceEvidence:
    """What an inference run left behind, gathered at the edges."""

    exit_code: int | None
    log: InferenceLog
    expected_checkpoints: Mapping[str, str]
    picture: str | None
    picture_problem: str
    measures: GateMeasures | None
    measures_problem: str


@dataclass(frozen=True)
class Condition:
    """One condition with its verdict and the sentence for it."""

    id: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class GateVerdict:
    """PASS, FAIL or INVALID, the sentence that says why, and every condition."""

    verdict: str
    sentence: str
    conditions: Sequence[Condition]
    thresholds: GateThresholds

    def as_event(self) -> dict[str, Any]:
        """The fields of the journal's ``gate_verdict`` that this function decides."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "conditions": [asdict(condition) for condition in self.conditions],
            "thresholds": asdict(self.thresholds),
        }


def judge_inference(evidence: InferenceEvidence, thresholds: GateThresholds) -> GateVerdict:
    """Apply G1–G5 and what the profile adds; everything must hold, and nothing evaluated is not a pass."""
    conditions = [
        _exit_code(evidence),
        _checkpoints(evidence),
        _markers(evidence),
        _picture(evidence),
        *_error(evidence, thresholds),
    ]
    return _verdict(conditions, evidence.measures, thresholds)


def judge_measures(measures: GateMeasures, thresholds: GateThresholds, others: Sequence[Condition] = ()) -> GateVerdict:
    """G5 and what the thresholds add, where there is no inference run to judge: a measurement alone (`score`).

    ``others`` are conditions that the measurement itself found, such as checkpoints that do not belong together.
    """
    return _verdict([*others, *_measured(measures, thresholds)], measures, thresholds)


def _verdict(conditions: list[Condition], measures: GateMeasures | None, thresholds: GateThresholds) -> GateVerdict:
    """Everything must hold; evidence that contradicts itself stands above a failure."""
    invalid = [condition for condition in conditions if condition.verdict == INVALID]
    failed = [condition for condition in conditions if condition.verdict == FAIL]
    verdict = INVALID if invalid else FAIL if failed else PASS
    return GateVerdict(verdict, _sentence(verdict, invalid + failed, measures, thresholds), conditions, thresholds)


def _exit_code(evidence: InferenceEvidence) -> Condition:
    if evidence.exit_code == 0:
        return Condition("G1", PASS, "the inference command ended with exit code 0")
    how = (
        "was ended before it had an exit code"
        if evidence.exit_code is None
        else f"ended with exit code {evidence.exit_code}"
    )
    return Condition("G1", FAIL, f"the inference command {how}; its log has the reason")


def _checkpoints(evidence: InferenceEvidence) -> Condition:
    for stage in STAGES:
        shown, expected = evidence.log.checkpoints.get(stage), evidence.expected_checkpoints.get(stage)
        if shown is None:
            return Condition("G2", FAIL, f"the log does not show which {stage} checkpoint was used")
        if shown != expected:
            return Condition("G2", FAIL, f"the log shows the {stage} checkpoint {shown}, but this run chose {expected}")
    return Condition("G2", PASS, "the log shows the three checkpoints that this run chose")


def _markers(evidence: InferenceEvidence) -> Condition:
    if evidence.log.frames_inferred == 0:
        return Condition("G3", FAIL, "the log has no line 'Inferring frame …': no frame was generated")
    if not evidence.log.has_stats:
        return Condition("G3", FAIL, "the log has no line 'Inference stats': the run did not reach its end")
    return Condition("G3", PASS, f"the log shows {evidence.log.frames_inferred} inference steps and the statistics")


def _picture(evidence: InferenceEvidence) -> Condition:
    if evidence.picture is None:
        return Condition("G4", FAIL, evidence.picture_problem)
    return Condition("G4", PASS, f"{evidence.picture} is new and decodes as an image")


def _error(evidence: InferenceEvidence, thresholds: GateThresholds) -> list[Condition]:
    mse, measures = evidence.log.mse, evidence.measures
    if mse is None:
        return [Condition("G5", FAIL, "the log has no line 'Mean Squared Error (GT vs Pred)'")]
    if not math.isfinite(mse):
        return [Condition("G5", FAIL, f"the mean squared error in the log is {mse}, not a finite number")]
    if measures is None:
        return [Condition("G5", INVALID, f"the log states an error of {mse:.4f}, but {evidence.measures_problem}")]
    if not math.isclose(mse, measures.mse, rel_tol=0.0, abs_tol=LOG_AGREEMENT):
        return [
            Condition(
                "G5",
                INVALID,
                f"the log states an error of {mse:.6f}, but the clips it measured average {measures.mse:.6f}",
            )
        ]
    return _measured(measures, thresholds)


def _measured(measures: GateMeasures, thresholds: GateThresholds) -> list[Condition]:
    if not math.isfinite(measures.mse):
        first = Condition("G5", FAIL, f"the mean squared error is {measures.mse}, not a finite number")
    elif measures.mse <= thresholds.max_mse:
        first = Condition("G5", PASS, f"mean squared error {measures.mse:.4f} is at most {thresholds.max_mse:g}")
    else:
        first = Condition("G5", FAIL, f"mean squared error {measures.mse:.4f} is above {thresholds.max_mse:g}")
    return [first, *_stricter(measures, thresholds)]


def _stricter(measures: GateMeasures, thresholds: GateThresholds) -> list[Condition]:
    """The conditions that a profile adds to G5; each is listed only when the profile asks for it."""
    asked: list[tuple[bool, str, bool, str]] = [
        (
            thresholds.require_mse_upper,
            "G5.interval",
            measures.mse_high <= thresholds.max_mse,
            f"the upper end {measures.mse_high:.4f} of the error's 95 % interval against {thresholds.max_mse:g}",
        ),
        (
            thresholds.require_upper_below_mean_frame,
            "G5.mean_frame",
            measures.mse_high < measures.mean_frame_mse,
            f"the upper end {measures.mse_high:.4f} of the error's 95 % interval against always answering the mean "
            f"frame, {measures.mean_frame_mse:.4f}",
        ),
        (
            thresholds.require_skill,
            "G5.skill",
            measures.skill_low > 0,
            f"skill {measures.skill:.2f} (95 % interval from {measures.skill_low:.2f}) against copying the last "
            f"frame, which scores {measures.copy_last_mse:.4f}",
        ),
    ]
    if thresholds.min_delta_psnr_db is not None:
        asked.append(
            (
                True,
                "G5.control",
                measures.delta_psnr_db >= thresholds.min_delta_psnr_db,
                f"random actions cost {measures.delta_psnr_db:.2f} dB, at least {thresholds.min_delta_psnr_db:g} dB "
                "are asked for",
            )
        )
    if thresholds.min_action_codes is not None:
        asked.append(
            (
                True,
                "G5.codes",
                measures.action_codes_used >= thresholds.min_action_codes,
                f"{measures.action_codes_used} action codes are in use, at least {thresholds.min_action_codes} are "
                "asked for",
            )
        )
    return [Condition(name, PASS if holds else FAIL, reason) for wanted, name, holds, reason in asked if wanted]


def _sentence(
    verdict: str, problems: Sequence[Condition], measures: GateMeasures | None, thresholds: GateThresholds
) -> str:
    if verdict != PASS:
        text = f"{verdict}: " + "; ".join(f"{problem.reason} ({problem.id})" for problem in problems) + "."
        if measures is not None and measures.mse <= thresholds.max_mse and measures.skill < 0:
            text += (
                f" The rollout error {measures.mse:.4f} is under {thresholds.max_mse:g}, but copying the last frame "
                f"scores {measures.copy_last_mse:.4f}: the model predicts worse than no motion at all."
            )
        return text
    if measures is None:
        raise ValueError("a gate cannot pass without measures")
    mode = "teacher-forced (not strict)" if measures.teacher_forced else "strict autoregressive"
    return (
        f"PASS: the {mode} rollout error {measures.mse:.4f} (95 % interval {measures.mse_low:.4f} to "
        f"{measures.mse_high:.4f}) on {measures.clips} held-out clips is at most {thresholds.max_mse:g}; "
        f"{_compared(measures)}."
    )


def _compared(measures: GateMeasures) -> str:
    if math.isnan(measures.skill):
        return "nothing moves in these clips, so there is no skill to state"
    word = "better" if measures.skill > 0 else "worse" if measures.skill < 0 else "no better"
    return f"that is {word} than copying the last frame ({measures.copy_last_mse:.4f}, skill {measures.skill:.2f})"
