"""The verdict of the inference gate: its conditions (G1 to G5) and the sentence; pure functions."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.conditions import Condition, measured_conditions, strongest_text, worse_than_copying
from tinyworlds_gate.gate.measures.baselines import LAST
from tinyworlds_gate.gate.measures.custom import CustomResult, custom_conditions
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.verdict_words import NO_ERROR_FAILS, NOT_JUDGED, causes, pass_limit
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, EVERYTHING, FAIL, FINAL, INVALID, PASS, STAGES
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.targets.log_lines import InferenceLines

LOG_AGREEMENT = 1e-6
"""The log prints eight decimals; its error and the one from the clips may differ by no more."""

UNCHECKED = -1
"""Draw of clips that somebody else chose."""

MEASURED_CLIPS = {
    UNCHECKED: "clips",
    EVERYTHING: "held-out clips",
    ATTEMPTS: "held-out clips",
    FINAL: "held-out clips of a second draw, which no retry has seen,",
    EVALUATION: "clips of the evaluation set, which no training and no retry has seen,",
}
"""Draw → its clips, in the sentence of a verdict."""

CLIPS_OF = {
    EVERYTHING: "held-out clips of its draw",
    ATTEMPTS: "held-out clips of its draw",
    FINAL: "held-out clips of the second draw, in episodes that no attempt has measured",
    EVALUATION: "clips that the evaluation set names",
}
"""Draw → its clips, in the condition `G5.clips`."""


@dataclass(frozen=True)
class InferenceEvidence:
    """What an inference run left behind, as read from its log, picture and measures file."""

    exit_code: int | None
    log: InferenceLines
    expected_checkpoints: Mapping[str, str]
    picture: str | None
    picture_problem: str
    measures: GateMeasures | None
    measures_problem: str
    draw: int = ATTEMPTS
    measured_starts: tuple[int, ...] = ()
    """First frames of the measured clips; ``clip_digest`` covers their pixels."""
    drawn_starts: tuple[int, ...] | None = None
    """First frames of the clips that the harness drew before the training; None where it drew none."""
    claims: tuple[Condition, ...] = ()
    """The measures file compared with what the harness computes itself (`claims.py`)."""
    agreement: tuple[Condition, ...] = ()
    """Whether the three checkpoints belong together (C4)."""
    custom: tuple[CustomResult, ...] = ()
    """The project's own conditions and metrics (docs/extending.md), measured on the same clips."""
    error: str = ""
    """The error that the log of a failed process shows; empty where it shows none."""


@dataclass(frozen=True)
class GateVerdict:
    """PASS, FAIL or INVALID, the sentence that says why, and every condition."""

    verdict: str
    sentence: str
    conditions: Sequence[Condition]
    thresholds: GateThresholds
    custom: Sequence[CustomResult] = ()

    def as_event(self) -> dict[str, Any]:
        """The fields of the journal's ``gate_verdict`` that this function decides."""
        fields: dict[str, Any] = {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "conditions": [asdict(condition) for condition in self.conditions],
            "thresholds": self.thresholds.as_record(),
        }
        if self.custom:
            fields["custom_metrics"] = [one.as_record() for one in self.custom]
        return fields


def judge_inference(
    evidence: InferenceEvidence, thresholds: GateThresholds, *, without: Container[str] = ()
) -> GateVerdict:
    """The verdict on an inference run: every condition must hold, and a run that measured nothing does not pass.

    Args:
        without: IDs of conditions to leave out. Only the measurement of the gate's power uses it (docs/gate-power.md):
            a defect that one condition detects must get through without it.
    """
    conditions = [one for one in inference_conditions(evidence, thresholds) if one.id not in without]
    return _verdict(conditions, evidence.measures, thresholds, evidence.draw, evidence.custom)


def inference_conditions(evidence: InferenceEvidence, thresholds: GateThresholds) -> list[Condition]:
    """Every condition on an inference run: G1 to G5, what the thresholds require, then the project's own."""
    return [
        _exit_code(evidence),
        *evidence.agreement,
        _checkpoints(evidence),
        _markers(evidence),
        _picture(evidence),
        *_error(evidence, thresholds),
    ]


def judge_measures(
    measures: GateMeasures,
    thresholds: GateThresholds,
    others: Sequence[Condition] = (),
    custom: Sequence[CustomResult] = (),
    *,
    without: Container[str] = (),
    draw: int = ATTEMPTS,
) -> GateVerdict:
    """The verdict on a measurement without an inference run (`tinyworlds-gate score`).

    Args:
        others: conditions that the measurement itself found, such as checkpoints that do not belong together.
        custom: the user's own conditions and metrics, measured on the same clips.
        without: as of :func:`judge_inference`.
        draw: of the clips, for the sentence; ``UNCHECKED``: whether they were held out is not known.
    """
    conditions = [*others, *measured_conditions(measures, thresholds), *custom_conditions(custom)]
    conditions = [one for one in conditions if one.id not in without]
    return _verdict(conditions, measures, thresholds, draw, custom)


def _verdict(
    conditions: list[Condition],
    measures: GateMeasures | None,
    thresholds: GateThresholds,
    draw: int = ATTEMPTS,
    custom: Sequence[CustomResult] = (),
) -> GateVerdict:
    """INVALID where a condition is INVALID, else FAIL where one failed, else PASS."""
    invalid = [condition for condition in conditions if condition.verdict == INVALID]
    failed = [condition for condition in conditions if condition.verdict == FAIL]
    if measures is None and not invalid and not failed:
        invalid = [Condition("G5.measures", INVALID, "nothing was measured, and nothing evaluated is not a pass")]
    verdict = INVALID if invalid else FAIL if failed else PASS
    sentence = _sentence(verdict, invalid + failed, measures, thresholds, draw)
    return GateVerdict(verdict, sentence, conditions, thresholds, custom)


def _exit_code(evidence: InferenceEvidence) -> Condition:
    if evidence.exit_code == 0:
        return Condition("G1", PASS, "the inference command ended with exit code 0")
    how = (
        "was ended before it had an exit code"
        if evidence.exit_code is None
        else f"ended with exit code {evidence.exit_code}"
    )
    why = f": {evidence.error}" if evidence.error else "; its log has the reason"
    return Condition("G1", FAIL, f"the inference command {how}, so its work is not done{why}")


def _checkpoints(evidence: InferenceEvidence) -> Condition:
    for stage in STAGES:
        shown, expected = evidence.log.checkpoints.get(stage), evidence.expected_checkpoints.get(stage)
        if shown is None:
            return Condition(
                "G2", FAIL, f"the log does not show which {stage} checkpoint was used: what was measured is unknown"
            )
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
    stated, measures = _stated(evidence), evidence.measures
    if measures is None and evidence.log.mse is None:
        return [stated]  # nothing is claimed, so nothing contradicts itself
    if measures is None:
        problem = evidence.measures_problem
        return [stated, Condition("G5.measures", INVALID, f"the error of the rollout is not known: {problem}")]
    own = custom_conditions(evidence.custom)
    return [stated, *evidence.claims, *_clips(evidence), *measured_conditions(measures, thresholds), *own]


def _stated(evidence: InferenceEvidence) -> Condition:
    """The error in the log: present, finite, and that of the clips that were measured."""
    mse, measures = evidence.log.mse, evidence.measures
    if mse is None:
        reason = "the log has no line 'Mean Squared Error (GT vs Pred)': nothing was measured"
        return Condition("G5.log", FAIL, reason)
    if not math.isfinite(mse):
        return Condition("G5.log", FAIL, f"the mean squared error in the log is {mse}, not a finite number")
    if measures is None or math.isclose(mse, measures.mse, rel_tol=0.0, abs_tol=LOG_AGREEMENT):
        return Condition("G5.log", PASS, f"the log states a mean squared error of {mse:.6f}")
    reason = (
        f"the log states an error of {mse:.6f}, but the clips it measured average {measures.mse:.6f}: one of the two "
        "is not of this run"
    )
    return Condition("G5.log", INVALID, reason)


def _clips(evidence: InferenceEvidence) -> list[Condition]:
    """The clips are those of this draw: held out, all of them, and for a final verdict seen by no attempt."""
    drawn, measured = evidence.drawn_starts, evidence.measured_starts
    if drawn is None:
        return []
    which = CLIPS_OF[evidence.draw]
    if measured == drawn:
        return [Condition("G5.clips", PASS, f"the {len(drawn)} clips measured are the {which}")]
    missing, strange = set(drawn) - set(measured), sorted(set(measured) - set(drawn))
    what = f"{len(measured)} clips were measured instead of the {len(drawn)} {which}"
    if missing:
        what += f": {len(missing)} of them are missing"
    if strange:
        what += f", and {len(strange)} were not drawn, the first at frame {strange[0]}"
    return [Condition("G5.clips", INVALID, f"{what}; an error on other clips proves nothing")]


def _sentence(
    verdict: str, problems: Sequence[Condition], measures: GateMeasures | None, thresholds: GateThresholds, draw: int
) -> str:
    """Every reason for a failure, or the error of a pass beside its limit and the baseline."""
    clips = MEASURED_CLIPS[draw]
    if verdict != PASS:
        reasons = causes(problems, measures)
        if measures is not None and measures.mse <= thresholds.max_mse and _omits_negative_skill(measures, thresholds):
            reasons += [] if any(one.id == "G8" for one in problems) else [worse_than_copying(measures, thresholds)]
        where = "" if draw in (ATTEMPTS, UNCHECKED) else f"on {clips} "
        return f"{verdict}: {where}{'. Also: '.join(reasons)}."
    assert measures is not None
    mode = " ".join(part for part in (mode_text(vars(measures)), "rollout error") if part)
    limit = pass_limit(vars(measures), thresholds.as_record())
    said = (
        f"the {mode} {measures.mse:.4f} ({_interval(measures)}) on {measures.clips} {clips} is at most "
        f"{thresholds.max_mse:g}{_compared(measures)}.{_objects_not_judged(measures, thresholds)}"
    )
    return f"PASS: {said}" if limit is None else f"PASS ({limit}): {said} {_no_statement(measures, thresholds)}"


def _objects_not_judged(measures: GateMeasures, thresholds: GateThresholds) -> str:
    """Why a pass says nothing about small moving objects although the rule requires them; empty where it does."""
    missing = (measures.objects or {}).get("no_occasion") if thresholds.min_object_share is not None else None
    return f" Small moving objects were not judged: {missing}." if missing else ""


def _no_statement(measures: GateMeasures, thresholds: GateThresholds) -> str:
    """Why a pass is one of the loop only."""
    if thresholds.max_mse >= NO_ERROR_FAILS:
        return NOT_JUDGED
    named = measures.strongest_baseline is not None
    what = strongest_text(measures) if named else "the strongest prediction without a model"
    return f"No statement about the model is made: it is not shown to beat {what} (G8)."


def _interval(measures: GateMeasures) -> str:
    if math.isnan(measures.mse_low):
        return "no interval: all clips lie in one episode" if measures.episodes == 1 else "no interval"
    return f"95 % interval {measures.mse_low:.4f} to {measures.mse_high:.4f}"


def _omits_negative_skill(measures: GateMeasures, thresholds: GateThresholds) -> bool:
    """Whether the skill is negative and no condition reports it."""
    return measures.skill < 0 and not thresholds.require_skill


def _compared(measures: GateMeasures) -> str:
    """The end of the sentence of a pass: the comparison with copying the last frame, whichever is better."""
    if math.isnan(measures.skill):
        return "; nothing moves in these clips, so there is no skill to state"
    copied = f"copying the last frame ({measures.copy_last_mse:.4f}, skill {measures.skill:.2f})"
    if measures.skill < 0:
        return f", but it is worse than {copied}: the model predicts worse than no motion at all"
    return f"; that is {'better' if measures.skill > 0 else 'no better'} than {copied}{_against_strongest(measures)}"


def _against_strongest(measures: GateMeasures) -> str:
    """The comparison with the strongest prediction without a model (G8); empty where it is copying or not known."""
    skill, low = measures.skill_strongest, measures.skill_strongest_low
    if skill is None or low is None or math.isnan(skill) or measures.strongest_baseline == LAST:
        return ""
    compared = "better than" if low > 0 else "not shown to be better than" if skill > 0 else "no better than"
    return f", and {compared} {strongest_text(measures)[:-1]}, skill {skill:.2f} from {low:.2f})"
