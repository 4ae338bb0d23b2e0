"""How a run ends: status and exit status from findings, NOT-RUN gaps, a finding for every requirement."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.loop.closed_loop import ClosedLoop
from tinyworlds_gate.plugin.outcome import RunOutcome, decide_outcome, not_run_gaps
from tinyworlds_gate.reports.requirements import REQUIREMENTS

WHOLE = {"tests::all": [Finding(id, "PASS", "it holds") for id in REQUIREMENTS if id not in ("M4", "A8")]}


def finding(id: str, verdict: str) -> Finding:
    return Finding(id, verdict, f"{id} reason")


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize(
    ("ids", "kind", "limited", "gaps"),
    [
        ([], "smoke", False, []),
        (["L3", "H6"], "smoke", False, []),
        (["L3", "H6", "S1"], "smoke", False, ["S1"]),
        (["S1", "G5"], "smoke", True, []),
        (["M4"], "smoke", False, []),
        (["M4"], "longrun", False, []),
        (["L3", "H6"], "longrun", False, ["L3", "H6"]),
        (["L3", "S1"], "longrun", True, ["L3", "S1"]),
        (["S1", "S1"], "smoke", False, ["S1"]),
    ],
)
def test_what_may_be_left_out(ids: list[str], kind: str, limited: bool, gaps: list[str]) -> None:
    findings = [finding(id, "NOT-RUN") for id in ids] + [finding("C1", "PASS"), finding("C2", "FAIL")]
    assert not_run_gaps(findings, kind=kind, limited=limited) == gaps


def attempt(verdict: str, number: int = 1, *, is_final: bool = False) -> SimpleNamespace:
    judged = SimpleNamespace(verdict=verdict, sentence=f"{verdict}: the error is 0.02.")
    return SimpleNamespace(verdict=judged, number=number, is_final=is_final, measures=SimpleNamespace(mse=0.019))


def loop(
    *verdicts: str,
    problem: str | None = None,
    failed: tuple[str, ...] = (),
    degraded: bool = False,
    final: str | None = None,
    final_problem: str | None = None,
    too_few_clips: bool = False,
) -> ClosedLoop:
    """What the outcome reads of a loop, as plain data; the loop itself trains, and is tested where it trains."""
    finals = [] if final is None else [attempt(final, len(verdicts), is_final=True)]
    stages = [SimpleNamespace(stage=stage, reason="the budget is spent") for stage in failed]
    plain = SimpleNamespace(
        attempts=[*(attempt(verdict, number) for number, verdict in enumerate(verdicts, 1)), *finals],
        final_problem=final_problem,
        problem_is_missing_evidence=too_few_clips,
        problem=problem,
        stages_failed=lambda: stages,
        degraded=degraded,
    )
    return cast(ClosedLoop, plain)


def decide(
    ended: ClosedLoop,
    by_test: Mapping[str, list[Finding]] | None = None,
    *,
    deselected: Mapping[str, str] | None = None,
    unreached: Mapping[str, str] | None = None,
    exitstatus: int = 0,
    page_expected: bool = True,
    kind: str = "smoke",
    explicit: Mapping[str, Any] | None = None,
) -> RunOutcome:
    return decide_outcome(
        ended,
        WHOLE if by_test is None else by_test,
        deselected or {},
        unreached or {},
        exitstatus=exitstatus,
        page_expected=page_expected,
        kind=kind,
        explicit=explicit or {},
    )


def with_finding(id: str, verdict: str) -> dict[str, list[Finding]]:
    return {"tests::all": [finding(id, verdict) if one.id == id else one for one in WHOLE["tests::all"]]}


@pytest.mark.requirement("H3")
def test_a_whole_run_whose_gate_passed_has_passed() -> None:
    found = decide(loop("PASS"))
    assert (found.status, found.exit_status, found.complete) == ("passed", 0, True)
    assert found.sentence == "PASS: the error is 0.02."
    assert {one.id for _, one in found.findings} == set(REQUIREMENTS)


@pytest.mark.requirement("H3", "H8")
@pytest.mark.parametrize(
    ("ended", "by_test", "exitstatus", "status", "code", "said"),
    [
        (loop("FAIL"), None, 1, "failed", 1, "FAIL: the error is 0.02."),
        (loop("FAIL", "FAIL"), None, 1, "failed", 1, "This is the verdict after 2 attempts."),
        (loop("FAIL", "PASS", final="PASS"), None, 0, "passed", 0, "Attempt 2 of 2 had passed on the clips of the"),
        (
            loop("FAIL", "PASS", final="FAIL"),
            None,
            1,
            "failed",
            1,
            "FAIL: the error is 0.02. Attempt 2 of 2 had",
        ),
        (loop("FAIL", "PASS", final="INVALID"), None, 1, "invalid", 1, "INVALID: the error is 0.02."),
        (
            loop("FAIL", "PASS", final_problem="attempt 2 passed after retraining, but no more"),
            None,
            0,
            "invalid",
            1,
            "INVALID: attempt 2 passed after retraining",
        ),
        (loop(problem="2 clips", too_few_clips=True), None, 1, "invalid", 1, "INVALID: nothing was trained. 2 clips"),
        (loop("INVALID"), None, 1, "invalid", 1, "INVALID: the error"),
        # A verdict turns the exit status although no test failed.
        (loop("FAIL"), None, 0, "failed", 1, "FAIL: the error"),
        (loop("PASS"), with_finding("S4", "FAIL"), 0, "failed", 1, "not everything around it: S4: S4 reason"),
        (loop("PASS"), with_finding("M1", "INVALID"), 0, "invalid", 1, "INVALID: the gate passed, but not everything"),
        (loop("PASS", degraded=True), None, 0, "degraded", 0, "DEGRADED: the error is 0.02. A stage fell to one clip"),
        (loop("PASS"), with_finding("H8", "DEGRADED"), 0, "degraded", 0, "DEGRADED: the error"),
        (loop(problem="no data file"), None, 1, "failed", 1, "FAIL: nothing was trained. no data file"),
        (loop(failed=("dynamics",)), None, 1, "failed", 1, "FAIL: dynamics: the budget is spent"),
        (loop(), None, 0, "invalid", 1, "INVALID: the inference gate was not run"),
        (loop("PASS"), None, 2, "interrupted", 2, "The run was interrupted before its end; nothing is claimed."),
        (loop("PASS"), with_finding("S1", "NOT-RUN"), 0, "invalid", 1, r"1 requirement(s) were not run: S1. PASS: the"),
    ],
)
def test_the_status_and_the_exit_status_follow_from_what_happened(
    ended: ClosedLoop,
    by_test: dict[str, list[Finding]] | None,
    exitstatus: int,
    status: str,
    code: int,
    said: str,
) -> None:
    found = decide(ended, by_test, exitstatus=exitstatus)
    assert (found.status, found.exit_status) == (status, code)
    assert said in found.sentence


def test_a_smoke_run_without_two_gpus_passes_and_a_long_run_does_not() -> None:
    by_test = {"tests::all": [*with_finding("H6", "NOT-RUN")["tests::all"]]}
    assert decide(loop("PASS"), by_test).exit_status == 0
    long = decide(loop("PASS"), by_test, kind="longrun")
    assert (long.status, long.exit_status) == ("invalid", 1)
    assert "1 requirement(s) were not run: H6" in long.sentence


@pytest.mark.parametrize(
    ("explicit", "code"),
    [
        ({}, 1),
        ({"max_mse": 0.01}, 1),
        ({"train_stage": "all"}, 1),
        ({"checkpoint_policy": "fresh"}, 1),
        ({"nproc_per_node": 2}, 1),
        ({"enable_wandb_analysis": True}, 1),
        ({"train_stage": "dynamics"}, 0),
        ({"video_checkpoint": "results/x"}, 0),
        ({"enable_wandb_analysis": False}, 0),
    ],
)
def test_only_an_option_that_leaves_something_out_excuses_what_was_not_run(explicit: dict[str, Any], code: int) -> None:
    """An option that states the default asks for the whole loop."""
    assert decide(loop("PASS"), with_finding("S1", "NOT-RUN"), explicit=explicit).exit_status == code


def test_deselected_and_unreached_requirements_say_so() -> None:
    by_test = {"tests::all": [one for one in WHOLE["tests::all"] if one.id not in ("S1", "S2")]}
    found = decide(loop("PASS"), by_test, deselected={"S1": "t::s1"}, unreached={"S2": "t::s2"})
    told = {one.id: (test, one) for test, one in found.findings}
    assert told["S1"] == ("t::s1", Finding("S1", "NOT-RUN", "its test was deselected by the person who ran this"))
    assert told["S2"] == ("t::s2", Finding("S2", "NOT-RUN", "the session ended before its test ran"))
    assert told["M4"][1].reason == "optional: no watch was started"


@pytest.mark.requirement("M4")
@pytest.mark.parametrize("verdict", ["PASS", "NOT-RUN"])
def test_what_is_known_of_a_watch_is_stated_once_and_fails_no_run(verdict: str) -> None:
    known = Finding("M4", verdict, "as the record says", "Logs/monitor_4h_x.log")
    found = decide_outcome(
        loop("PASS"), WHOLE, {}, {}, exitstatus=0, page_expected=True, kind="longrun", explicit={}, watched=known
    )
    assert [one for one in found.findings if one[1].id == "M4"] == [(None, known)]
    assert (found.status, found.exit_status) == ("passed", 0)


@pytest.mark.requirement("A8")
def test_without_pytest_html_the_page_was_not_run() -> None:
    found = decide(loop("PASS"), page_expected=False)
    page = next(one for _, one in found.findings if one.id == "A8")
    assert page == Finding("A8", "NOT-RUN", "pytest-html is switched off (-p no:html)")
    expected = next(one for _, one in decide(loop("PASS")).findings if one.id == "A8")
    assert expected.verdict == "PASS"
