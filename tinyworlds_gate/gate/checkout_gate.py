"""The checkout's own gate (G1–G5 as its source defines them), and what both gates say together (pure; docs/gate.md).

The checkout's own error is that of one clip of its training data. It is asked for, since the source asks for it, and it
is held to be what it says: copied context frames that count in it are taken out, and a rollout that followed random
actions is no evidence. The trusted gate decides; a pass needs both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.verdict import GateVerdict
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS, STAGES
from tinyworlds_gate.targets.capabilities import Capabilities
from tinyworlds_gate.targets.fingerprint import describe_changes
from tinyworlds_gate.targets.log_lines import InferenceLines

PRINTED = 2e-6
"""Logs print six decimals."""


@dataclass(frozen=True)
class TargetEvidence:
    """What the checkout's own inference left, gathered at the edges."""

    exit_code: int | None
    lines: InferenceLines
    shown_checkpoints: Mapping[str, str]
    """Stage → the path in the log, absolute."""
    expected_checkpoints: Mapping[str, str]
    picture: str | None
    picture_problem: str
    context_frames: int
    generated_frames: int
    error: str = ""
    """The last exception in the log; empty without one."""


@dataclass(frozen=True)
class StatedError:
    """The error of the generated frames by the log (None: it states none), and how it was read."""

    mse: float | None
    explanation: str
    contradiction: bool = False


@dataclass(frozen=True)
class TargetVerdict:
    """The own gate's verdict: PASS, FAIL or INVALID, its sentence, and its conditions (``G1.target`` …)."""

    verdict: str
    sentence: str
    conditions: Sequence[Condition]
    stated_mse: float | None
    mse: float | None

    def as_event(self) -> dict[str, Any]:
        """The part of the journal's ``gates``."""
        return asdict(self)


def judge_target(evidence: TargetEvidence, can: Capabilities, max_mse: float) -> TargetVerdict:
    """G1–G5 of the checkout's own inference; everything must hold."""
    error = stated_error(evidence, can)
    found = {
        "G1": _exit_code(evidence, can),
        "G2": _checkpoints(evidence, can),
        "G3": _markers(evidence),
        "G4": _picture(evidence),
        "G5": _error(evidence, error, max_mse),
    }
    conditions = [Condition(f"{id}.target", *judged) for id, judged in found.items()]
    invalid = [one for one in conditions if one.verdict == INVALID]
    failed = [one for one in conditions if one.verdict == FAIL]
    verdict = INVALID if invalid else FAIL if failed else PASS
    reasons = ". Also: ".join(one.reason for one in (*invalid, *failed)) or error.explanation
    return TargetVerdict(verdict, f"{verdict}: {reasons}.", conditions, evidence.lines.mse, error.mse)


def stated_error(evidence: TargetEvidence, can: Capabilities) -> StatedError:
    """The error of the generated frames alone, from what the log states (hazard 6).

    A log that states both errors tells by them what each means: the copied context has none, so that the one over all
    frames is the smaller by the share of generated frames. A log with one error is read by what the kind is known for.
    """
    lines, context, generated = evidence.lines, evidence.context_frames, evidence.generated_frames
    if lines.mse is None or not math.isfinite(lines.mse):
        return StatedError(lines.mse, f"its log states the error {lines.mse}")
    share = generated / (context + generated)
    corrected = lines.mse / share
    diluted = (
        f"its log states {lines.mse:.6f} over {context} copied context frames and {generated} generated ones, which is "
        f"{corrected:.6f} over the generated frames alone"
    )
    if lines.mse_with_context is None:
        if can.states_generated_error:
            return StatedError(
                corrected, f"{diluted} (no line `full_with_context` shows that the context was left out)"
            )
        return StatedError(corrected, diluted)
    if _same(lines.mse * share, lines.mse_with_context):
        return StatedError(lines.mse, f"its log states {lines.mse:.6f} over {generated} generated frames")
    if _same(lines.mse, lines.mse_with_context):
        return StatedError(corrected, diluted)
    explanation = (
        f"its log states {lines.mse:.6f} and, with the context, {lines.mse_with_context:.6f}: with {context} copied "
        f"and {generated} generated frames these two contradict each other"
    )
    return StatedError(lines.mse, explanation, contradiction=True)


def disagreement(own: TargetVerdict, trusted: GateVerdict | None, why_not: str | None) -> str | None:
    """The sentence where the two verdicts differ; None where they agree."""
    if trusted is None:
        return f"The checkout's own gate says {own.verdict}, the trusted gate is {NOT_RUN}: {why_not}"
    if own.verdict == trusted.verdict:
        return None
    stated = "no error" if own.mse is None else f"{own.mse:.4f} on one clip of its own choice"
    return (
        f"The two gates disagree: the checkout's own says {own.verdict} ({stated}), the trusted one "
        f"{trusted.verdict} on held-out clips. The trusted one decides about the model; a pass needs both."
    )


def both_gates(
    own: TargetVerdict, trusted: GateVerdict | None, why_not: str | None, thresholds: GateThresholds
) -> GateVerdict:
    """One verdict of both gates: the worse of the two, INVALID above FAIL; without the trusted gate nothing passes.

    ``trusted`` is the verdict of the embedded reference's inference on the same checkpoints; None: it was not run, for
    the reason ``why_not``.
    """
    if trusted is None:
        missing = Condition("G5.trusted", INVALID, f"the trusted gate is {NOT_RUN}: {why_not}")
        sentence = (
            f"INVALID: nothing was measured on held-out clips, and nothing evaluated is not a pass; the trusted gate "
            f"is {NOT_RUN}: {why_not}. The checkout's own gate says {own.sentence}"
        )
        return GateVerdict(INVALID, sentence, [*own.conditions, missing], thresholds)
    order = (INVALID, FAIL, PASS)
    verdict = min(own.verdict, trusted.verdict, key=order.index)
    conditions = [*own.conditions, *trusted.conditions]
    if own.verdict == PASS:
        also = f" The checkout's own gate passed too: {_without_verdict(own.sentence)}"
        sentence = trusted.sentence + (also if verdict == PASS else "")
        return GateVerdict(verdict, sentence, conditions, thresholds, trusted.custom)
    said = f"the checkout's own gate: {_without_verdict(own.sentence)}"
    rest = f" The trusted gate: {trusted.sentence}"
    return GateVerdict(verdict, f"{verdict}: {said}{rest}", conditions, thresholds, trusted.custom)


def of_one_code(verdict: GateVerdict, changes: Sequence[str], files: int) -> GateVerdict:
    """G2: one state of the checkout's code made the weights and measured them; ``changes`` are those of its tree."""
    if not changes:
        same = f"the {files} files of the checkout are what they were before the run"
        return replace(verdict, conditions=[*verdict.conditions, Condition("G2.checkout", PASS, same)])
    what = describe_changes(list(changes))
    explanation = f"files of the checkout changed during the run, so that its weights are not of one code: {what}"
    conditions = [*verdict.conditions, Condition("G2.checkout", INVALID, explanation)]
    return replace(
        verdict, verdict=INVALID, sentence=f"INVALID: {explanation}. {verdict.sentence}", conditions=conditions
    )


def gates_event(own: TargetVerdict, trusted: GateVerdict | None, why_not: str | None) -> dict[str, Any]:
    """The fields of ``gate_verdict`` that show both gates side by side."""
    theirs = (
        {"verdict": NOT_RUN, "sentence": f"{NOT_RUN}: {why_not}."}
        if trusted is None
        else {"verdict": trusted.verdict, "sentence": trusted.sentence}
    )
    return {
        "gates": {"target": own.as_event(), "trusted": theirs},
        "disagreement": disagreement(own, trusted, why_not),
    }


def _without_verdict(sentence: str) -> str:
    return sentence.partition(": ")[2]


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=PRINTED)


Judged = tuple[str, str]
"""Verdict and reason of a condition."""


def unmendable_by_training(conditions: Sequence[Condition]) -> str | None:
    """Why the checkout's own gate fails whatever the weights are; None if it passed, or if its error is too large.

    Its inference crashed, took other checkpoints, did not reach its end, left no picture, or measured something else.
    """
    own = [one for one in conditions if one.id.endswith(".target")]
    broken = [one for one in own if one.verdict == (INVALID if one.id == "G5.target" else FAIL)]
    return broken[0].reason if broken else None


def _exit_code(evidence: TargetEvidence, can: Capabilities) -> Judged:
    if evidence.exit_code == 0:
        return PASS, "the checkout's inference ended with exit code 0"
    how = "was ended" if evidence.exit_code is None else f"ended with exit code {evidence.exit_code}"
    why = (
        evidence.error or "its log names no exception"
        if can.takes_checkpoint_folders
        else "its code accepts no checkpoint folder, which is what its own stages save, so that no training can mend it"
    )
    return FAIL, f"the checkout's inference {how}; {why}"


def _checkpoints(evidence: TargetEvidence, can: Capabilities) -> Judged:
    # Run without actions, TinyWorlds loads no latent-action model and names none.
    named = [
        stage
        for stage in STAGES
        if can.infers_actions or stage != "latent_actions" or stage in evidence.shown_checkpoints
    ]
    for stage in named:
        shown, expected = evidence.shown_checkpoints.get(stage), evidence.expected_checkpoints.get(stage)
        if shown is None:
            return FAIL, f"the checkout's log does not show which {stage} checkpoint it used"
        if shown != expected:
            reason = (
                f"the checkout's log shows the {stage} checkpoint {shown}, but this run chose {expected}: its search "
                "for the latest one took another (hazard 3)"
            )
            return FAIL, reason
    shown_text = "three checkpoints" if len(named) == len(STAGES) else f"checkpoints ({', '.join(named)})"
    return PASS, f"the checkout's log shows the {shown_text} that this run chose"


def _markers(evidence: TargetEvidence) -> Judged:
    lines = evidence.lines
    missing = [f"`{name}`" for name in lines.missing if not name.startswith(("Using", "Mean"))]
    if missing:
        return FAIL, f"the checkout's log lacks {' and '.join(missing)}: it did not reach its end"
    return PASS, f"the checkout's log shows {lines.frames_inferred} inference steps and the stats"


def _picture(evidence: TargetEvidence) -> Judged:
    if evidence.picture is None:
        return FAIL, f"the checkout's inference left no picture: {evidence.picture_problem}"
    return PASS, f"{evidence.picture} is new and decodes as an image"


def _error(evidence: TargetEvidence, error: StatedError, max_mse: float) -> Judged:
    if error.mse is None:
        return FAIL, "the checkout's log lacks `Mean Squared Error (GT vs Pred)`: nothing was measured"
    if not math.isfinite(error.mse):
        return FAIL, f"the checkout's own error is {error.mse}, not a finite number"
    if evidence.lines.random_actions:
        reason = (
            f"the checkout's rollout followed random actions in {evidence.lines.random_actions} step(s) and was "
            "compared with the true future, so its error says nothing of its model (hazard 6)"
        )
        return INVALID, reason
    if error.contradiction:
        return INVALID, error.explanation
    if error.mse > max_mse:
        return FAIL, f"the checkout's own error is above {max_mse:g}: {error.explanation}"
    return PASS, f"{error.explanation}, at most {max_mse:g}"
