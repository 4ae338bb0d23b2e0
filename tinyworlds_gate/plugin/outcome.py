"""How a run ended, decided from its findings: status, sentence, exit status, and a finding for every requirement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.config.layers import trained_stages
from tinyworlds_gate.config.requested import NO_TRAINING, inference_requested, scope
from tinyworlds_gate.config.requested import left_out as excluded_requirements
from tinyworlds_gate.findings.base import (
    BY_CHOICE,
    DESELECTED,
    ELSEWHERE,
    NOT_SELECTED,
    UNREACHED,
    UNSTATED,
    Finding,
    by_choice,
)
from tinyworlds_gate.gate.verdict_words import LOOP_ONLY, NOT_JUDGED, limit_of, without_word
from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN, PASS
from tinyworlds_gate.reference.rollout.mode import ONE_STEP, STRICT, TEACHER_FORCED, mode
from tinyworlds_gate.reports.causes import causes_text
from tinyworlds_gate.reports.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop

INTERRUPTED = 2
"""pytest's exit status after Ctrl-C."""

OPTIONAL = ("M4",)
"""Asked for by nobody: the 4-hour watch is optional in the specification."""

NOT_RUN_WITHOUT_MEANS = ("L3", "H6", "L4")
"""What may be missing in a profile without `require_not_run_free`: without two GPUs L3 and H6, in a folder with nothing
to audit L4."""


@dataclass(frozen=True)
class RunOutcome:
    """The end of a run; ``complete``: it came to the end of what was requested, so that its reports are due."""

    status: str
    sentence: str
    exit_status: int
    complete: bool
    findings: Sequence[tuple[str | None, Finding]]


def decide_outcome(
    loop: ClosedLoop,
    by_test: Mapping[str, Sequence[Finding]],
    deselected: Mapping[str, str],
    unreached: Mapping[str, str],
    *,
    exitstatus: int,
    page_expected: bool,
    not_run_free: bool,
    explicit: Mapping[str, Any],
    not_asked: Collection[str] = (),
    judges_model: bool = True,
    left_out_by: tuple[str, bool] = ("", True),
) -> RunOutcome:
    """Complete the findings with what no test stated, and judge the whole.

    Args:
        by_test: node id → findings of that test.
        deselected: requirement → a test that a person left out.
        unreached: requirement → a selected test that did not run (`-x`, Ctrl-C).
        exitstatus: pytest's own, from the tests' outcomes.
        page_expected: whether pytest-html is there to write the page (A8).
        not_run_free: the profile's `require_not_run_free`: nothing that was requested may be NOT-RUN.
        explicit: the options that a person gave.
        not_asked: requirements whose tests were not collected (a file, a node id or `--lf` was given).
        judges_model: the profile's: false makes a pass one of the loop only.
        left_out_by: what left tests out, and whether a person chose it on the command line; otherwise what was left out
            was not run, and the run cannot pass.
    """
    findings: list[tuple[str | None, Finding]] = [(test, one) for test, several in by_test.items() for one in several]
    known = {one.id for _, one in findings}
    words, chosen = left_out_by
    left_out = dict.fromkeys(not_asked, NOT_SELECTED if chosen else f"{ELSEWHERE}: {words}")
    left_out |= dict.fromkeys(deselected, DESELECTED if chosen else f"{ELSEWHERE}: {words}")
    left_out |= dict.fromkeys(unreached, UNREACHED)
    test_of = {**deselected, **unreached}
    findings += [(test_of.get(one.id), one) for one in _unstated(known, left_out, page_expected)]
    excluded = excluded_requirements(explicit)
    findings = [(test, by_choice(one, excluded)) for test, one in findings]
    gate_left_out = "G5" in deselected or "G5" in not_asked
    status, sentence = _status(
        loop, findings, exitstatus, left_out_by if gate_left_out else None, explicit, judges_model
    )
    gaps = not_run_gaps([one for _, one in findings], not_run_free=not_run_free)
    code = exitstatus
    if code == 0 and (status in ("failed", "invalid") or gaps):
        code = 1
    if gaps and status in ("passed", "degraded"):
        status = "invalid"
        what = "the gate" if loop.attempts else "the stage"
        sentence = f"INVALID: {what} passed, but {len(gaps)} requirement(s) were not run: {', '.join(gaps)}. {sentence}"
    reached = bool(loop.attempts) or (loop.problem is None and not inference_requested(explicit))
    return RunOutcome(status, sentence, code, reached and exitstatus != INTERRUPTED, findings)


def not_run_gaps(findings: Sequence[Finding], *, not_run_free: bool) -> list[str]:
    """Requirements that were not run although they were requested and the run had an occasion for them.

    Without ``not_run_free`` what this machine or this project lacks the means for (L3, H6, L4) is no gap.
    """
    tolerated = OPTIONAL if not_run_free else (*OPTIONAL, *NOT_RUN_WITHOUT_MEANS)
    return list(dict.fromkeys(one.id for one in findings if one.is_missing and one.id not in tolerated))


def _unstated(known: set[str], left_out: Mapping[str, str], page_expected: bool) -> list[Finding]:
    findings: list[Finding] = []
    for id in REQUIREMENTS:
        if id in known:
            continue
        if id == "A8" and not page_expected:
            findings.append(Finding("A8", NOT_RUN, f"{BY_CHOICE} (-p no:html): pytest-html is switched off"))
        elif id in OPTIONAL:
            findings.append(Finding(id, NOT_RUN, "optional: no watch was started"))
        elif id in left_out:
            findings.append(Finding(id, NOT_RUN, left_out[id]))
        else:
            findings.append(Finding(id, NOT_RUN, UNSTATED))
    return findings


def _status(
    loop: ClosedLoop,
    findings: Sequence[tuple[str | None, Finding]],
    exitstatus: int,
    gate_left_out: tuple[str, bool] | None,
    explicit: Mapping[str, Any],
    judges_model: bool,
) -> tuple[str, str]:
    if exitstatus == INTERRUPTED:
        return "interrupted", "The run was interrupted before its end; nothing is claimed."
    if loop.problem is not None:
        status, word = ("invalid", INVALID) if loop.problem_is_missing_evidence else ("failed", FAIL)
        return status, f"{word}: nothing was trained. {loop.problem}"
    failed_stages = loop.stages_failed()
    if failed_stages and not loop.attempts:
        first = failed_stages[0]
        status = "invalid" if first.verdict == INVALID else "failed"
        return status, f"{first.verdict}: {first.stage}: {first.reason}"
    if not loop.attempts and gate_left_out is not None:
        words, chosen = gate_left_out
        what = f"the test of the inference gate was left out{f' ({words})' if words else ''}"
        if chosen:
            return "partial", f"NOT-RUN: {what}, so there is no verdict: nothing is claimed about the model."
        return "invalid", (
            f"INVALID: {what}, and not by the command line, so there is no verdict: nothing is claimed about the "
            "model. Select tests on the command line of pytest, or run all of them."
        )
    if not loop.attempts and inference_requested(explicit):
        return "invalid", "INVALID: the inference gate was not run, so nothing is claimed about the model."
    untrained = [one for one in loop.results.values() if one.verdict == NOT_RUN]
    nothing_trained = bool(untrained) and len(untrained) == len(loop.results)
    if not loop.attempts and nothing_trained:
        requested = trained_stages(str(explicit.get("train_stage") or "all"))
        why = "; ".join(f"{one.stage}: {one.reason}" for one in untrained if one.stage in requested)
        return "invalid", f"INVALID: nothing was trained and no inference was run, so nothing is claimed. {why}."
    if loop.attempts:
        last = loop.attempts[-1].verdict
        if last.verdict != PASS:
            return ("invalid" if last.verdict == INVALID else "failed"), last.sentence + _tried(loop)
        if loop.final_problem is not None:
            return "invalid", f"INVALID: {loop.final_problem}."
        what, sentence = "the gate", without_word(last.sentence) + _tried(loop)
    else:
        what, sentence = "the stage", _stages_sentence([one for _, one in findings])
    broken = [one for _, one in findings if one.is_broken]
    broken = [one for one in broken if one.follows_from is None] or broken
    if broken:
        word = INVALID if any(one.verdict == INVALID for one in broken) else FAIL
        why = causes_text([(one.id, one.reason) for one in broken], most=3)
        return (
            "invalid" if word == INVALID else "failed"
        ), f"{word}: {what} passed, but not everything around it: {why}"
    limit = (limit_of(loop.attempts[-1].verdict.sentence) if loop.attempts else None) if judges_model else LOOP_ONLY
    limits = [limit] if limit else []
    limits += [NO_TRAINING if nothing_trained else scope(explicit)] if nothing_trained or scope(explicit) else []
    sentence += "" if judges_model or NOT_JUDGED in sentence else f" {NOT_JUDGED}"
    if any(one.reason.startswith((DESELECTED, NOT_SELECTED)) for _, one in findings):
        limits.append("selected tests")
    if loop.compared is not None:
        sentence += f" Against the baseline: {str(loop.compared['sentence']).partition('. ')[0].rstrip('.')}."
    not_strict = _not_strict(loop)
    degraded = [one for _, one in findings if one.verdict == DEGRADED]
    if loop.degraded or degraded:
        fell = " A stage fell to one clip per GPU (batch_size_per_gpu=1) on the way; the retrospective has the cause."
        own_sizes = " The stages have different backbones (C2)." if any(one.id == "C2" for one in degraded) else ""
        other = fell if loop.degraded or any(one.id != "C2" for one in degraded) else ""
        return "degraded", headline(DEGRADED, limits, sentence, not_strict=not_strict) + own_sizes + other
    return "passed", headline(PASS, limits, sentence, not_strict=not_strict)


def _not_strict(loop: ClosedLoop) -> str:
    """`teacher-forced` or `one-step`; empty for a strict rollout, and without one."""
    measures = loop.attempts[-1].measures if loop.attempts else None
    kind = STRICT if measures is None else mode(vars(measures))
    return kind if kind in (TEACHER_FORCED, ONE_STEP) else ""


def headline(verdict: str, limits: Sequence[str], sentence: str, *, not_strict: str = "") -> str:
    """Return the sentence of a run that passed: the verdict, what was requested and shown, and the error.

    Args:
        verdict: PASS or DEGRADED.
        limits: what the run was limited to; empty for the whole loop.
        sentence: what was measured, without the verdict.
        not_strict: `teacher-forced` (each step started from true frames) or `one-step` (no frame was fed back).
    """
    limits = [one for one in limits if not (not_strict == TEACHER_FORCED and one == NO_TRAINING)]
    start = f"{verdict} ({', '.join(limits)})" if limits else verdict
    if not_strict:
        return f"{start}, {not_strict}: not a strict pass. {sentence[:1].upper()}{sentence[1:]}"
    return f"{start}: {sentence}"


def _stages_sentence(findings: Sequence[Finding]) -> str:
    """The decision of the trained stage's gate; its reason begins with the stage, which the headline names."""
    passed = [one.reason for one in findings if one.id in ("S1", "S2", "S3") and one.verdict in (PASS, DEGRADED)]
    decided = [reason.partition(": ")[2].rstrip(".") for reason in passed]
    shown = f"its gate decided {'; '.join(decided)}" if decided else "no stage passed its gate"
    return f"{shown}. The inference gate was not requested."


def _tried(loop: ClosedLoop) -> str:
    """What was tried before the final verdict; empty when it was the first."""
    last, attempts = loop.attempts[-1], [attempt for attempt in loop.attempts if not attempt.is_final]
    if last.is_final:
        passed = next(attempt for attempt in attempts if attempt.number == last.number)
        error = f" with an error of {passed.measures.mse:.4f}" if passed.measures is not None else ""
        return f" Attempt {last.number} of {len(attempts)} had passed on the clips of the attempts{error}."
    if last.verdict.verdict == PASS or len(attempts) == 1:
        return ""
    return f" This is the verdict after {len(attempts)} attempts."
