"""How a run ended, decided from its findings: status, sentence, exit status, and a finding for every requirement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.findings.base import DEGRADED, FAIL, INVALID, NOT_RUN, PASS, Finding
from tinyworlds_gate.reports.causes import told
from tinyworlds_gate.reports.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop

INTERRUPTED = 2
"""pytest's exit status after Ctrl-C."""

OPTIONAL = ("M4",)
"""Asked for by nobody: the 4-hour watch is optional in the specification."""

CHECKED_AT_THE_END = ("A8", *OPTIONAL)
"""Carried by no test: the page is written after the last one."""

NEED_TWO_GPUS = ("L3", "H6")
"""What a smoke run may leave NOT-RUN."""

LIMITING_OPTIONS: Mapping[str, object] = {
    "train_stage": "all",
    "checkpoint_policy": "fresh",
    "video_checkpoint": None,
    "latent_checkpoint": None,
    "dynamics_checkpoint": None,
    "enable_wandb_analysis": True,
    "enforce_dual_gpu_check": True,
    "cleanup_extra_processes": True,
}
"""Options with which a person can leave part of the loop out → the value that leaves nothing out."""


@dataclass(frozen=True)
class RunOutcome:
    """The end of a run; ``complete`` says that it was asked to go all the way to the gate and its reports."""

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
    kind: str,
    explicit: Mapping[str, Any],
    not_asked: Collection[str] = (),
    watched: Finding | None = None,
) -> RunOutcome:
    """Complete the findings with what no test stated, and judge the whole.

    Args:
        by_test: node id → findings of that test.
        deselected: requirement → a test that a person left out.
        unreached: requirement → a selected test that did not run (`-x`, Ctrl-C).
        exitstatus: pytest's own, from the tests' outcomes.
        page_expected: whether pytest-html is there to write the page (A8).
        kind: of the profile; a long run allows no NOT-RUN.
        explicit: the options that a person gave.
        not_asked: requirements whose tests were not collected (a file, a node id or `--lf` was given).
        watched: what is known of M4, which no test carries; None: of no watch.
    """
    findings: list[tuple[str | None, Finding]] = [(test, one) for test, several in by_test.items() for one in several]
    if watched is not None:
        findings.append((None, watched))
    known = {one.id for _, one in findings}
    complete = bool(loop.attempts) and exitstatus != INTERRUPTED
    left_out = dict.fromkeys(not_asked, "its test was not among those asked for (a file, a node id or --lf)")
    left_out |= dict.fromkeys(deselected, "its test was deselected by the person who ran this")
    left_out |= dict.fromkeys(unreached, "the session ended before its test ran")
    test_of = {**deselected, **unreached}
    findings += [(test_of.get(one.id), one) for one in _unstated(known, left_out, page_expected)]
    gate_left_out = "G5" in deselected or "G5" in not_asked
    status, sentence = _status(loop, findings, exitstatus, gate_left_out)
    limited = (
        bool(deselected or not_asked)
        or not page_expected
        or any(name in explicit and explicit[name] != whole for name, whole in LIMITING_OPTIONS.items())
    )
    gaps = not_run_gaps([one for _, one in findings], kind=kind, limited=limited)
    code = exitstatus
    if code == 0 and (status in ("failed", "invalid") or gaps):
        code = 1
    if gaps and status in ("passed", "degraded"):
        status = "invalid"
        sentence = (
            f"INVALID: the gate passed, but {len(gaps)} requirement(s) were not run: {', '.join(gaps)}. {sentence}"
        )
    return RunOutcome(status, sentence, code, complete, findings)


def not_run_gaps(findings: Sequence[Finding], *, kind: str, limited: bool) -> list[str]:
    """Requirements that were not run although the run had to: all of them in a long run, all but L3 and H6 in smoke.

    A smoke run that a person limited (deselected tests, a stage left out) states its gaps without failing for them.
    """
    ids = list(dict.fromkeys(one.id for one in findings if one.verdict == NOT_RUN and one.id not in OPTIONAL))
    if kind == "longrun":
        return ids
    return [] if limited else [id for id in ids if id not in NEED_TWO_GPUS]


def _unstated(known: set[str], left_out: Mapping[str, str], page_expected: bool) -> list[Finding]:
    findings: list[Finding] = []
    for id in REQUIREMENTS:
        if id in known:
            continue
        if id == "A8":
            findings.append(
                Finding("A8", PASS, "the page is written when the session ends; a missing page fails the session")
                if page_expected
                else Finding("A8", NOT_RUN, "pytest-html is switched off (-p no:html)")
            )
        elif id in OPTIONAL:
            findings.append(Finding(id, NOT_RUN, "optional: no watch was started"))
        elif id in left_out:
            findings.append(Finding(id, NOT_RUN, left_out[id]))
        else:
            findings.append(Finding(id, NOT_RUN, "no test of this session stated it"))
    return findings


def _status(
    loop: ClosedLoop, findings: Sequence[tuple[str | None, Finding]], exitstatus: int, gate_left_out: bool
) -> tuple[str, str]:
    if exitstatus == INTERRUPTED:
        return "interrupted", "The run was interrupted before its end; nothing is claimed."
    if loop.problem is not None:
        status, word = ("invalid", INVALID) if loop.problem_is_missing_evidence else ("failed", FAIL)
        return status, f"{word}: nothing was trained. {loop.problem}"
    failed_stages = loop.stages_failed()
    if failed_stages and not loop.attempts:
        return "failed", f"FAIL: {failed_stages[0].stage}: {failed_stages[0].reason}"
    if not loop.attempts and gate_left_out:
        return (
            "partial",
            "NOT-RUN: the test of the inference gate was left out, so nothing is claimed about the model.",
        )
    if not loop.attempts:
        return "invalid", "INVALID: the inference gate was not run, so nothing is claimed about the model."
    last = loop.attempts[-1].verdict
    if last.verdict != PASS:
        return ("invalid" if last.verdict == INVALID else "failed"), last.sentence + _tried(loop)
    if loop.final_problem is not None:
        return "invalid", f"INVALID: {loop.final_problem}."
    broken = [one for _, one in findings if one.verdict in (FAIL, INVALID)]
    if broken:
        word = INVALID if any(one.verdict == INVALID for one in broken) else FAIL
        why = told([(one.id, one.reason) for one in broken], most=3)
        return (
            "invalid" if word == INVALID else "failed"
        ), f"{word}: the gate passed, but not everything around it: {why}"
    if loop.degraded or any(one.verdict == DEGRADED for _, one in findings):
        fell = " A stage fell to one clip per GPU (batch_size_per_gpu=1) on the way; the retrospective has the cause."
        return "degraded", last.sentence.replace("PASS:", "DEGRADED:", 1) + _tried(loop) + fell
    return "passed", last.sentence + _tried(loop)


def _tried(loop: ClosedLoop) -> str:
    """What was tried before the verdict that stands; empty when it was the first."""
    last, attempts = loop.attempts[-1], [attempt for attempt in loop.attempts if not attempt.is_final]
    if last.is_final:
        passed = next(attempt for attempt in attempts if attempt.number == last.number)
        error = f" with an error of {passed.measures.mse:.4f}" if passed.measures is not None else ""
        return f" Attempt {last.number} of {len(attempts)} had passed on the clips of the attempts{error}."
    if last.verdict.verdict == PASS or len(attempts) == 1:
        return ""
    return f" This is the verdict after {len(attempts)} attempts."
