"""How a run ends: status and exit status from findings, NOT-RUN gaps, a finding for every requirement."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinyworlds_gate.config import requested
from tinyworlds_gate.findings.base import DESELECTED, UNREACHED, Finding
from tinyworlds_gate.gate.verdict_words import limit_of
from tinyworlds_gate.loop.closed_loop import ClosedLoop
from tinyworlds_gate.plugin.outcome import RunOutcome, decide_outcome, not_run_gaps
from tinyworlds_gate.reports.requirements import REQUIREMENTS

WHOLE = {"tests::all": [Finding(id, "PASS", "it holds") for id in REQUIREMENTS]}


def finding(id: str, verdict: str) -> Finding:
    return Finding(id, verdict, f"{id} reason")


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize(
    ("ids", "not_run_free", "gaps"),
    [
        ([], False, []),
        (["L3", "H6"], False, []),
        (["L3", "H6", "S1"], False, ["S1"]),
        (["L4"], False, []),
        (["L4"], True, ["L4"]),
        (["M4"], False, []),
        (["M4"], True, []),
        (["L3", "H6"], True, ["L3", "H6"]),
        (["S1", "S1"], False, ["S1"]),
    ],
)
def test_what_may_be_missing(ids: list[str], not_run_free: bool, gaps: list[str]) -> None:
    findings = [finding(id, "NOT-RUN") for id in ids] + [finding("C1", "PASS"), finding("C2", "FAIL")]
    assert not_run_gaps(findings, not_run_free=not_run_free) == gaps


@pytest.mark.parametrize(
    "reason", ["no occasion: nothing was retuned", "by choice (--train-stage none): x", DESELECTED]
)
def test_what_had_no_occasion_or_was_left_out_by_a_person_is_no_gap(reason: str) -> None:
    assert not_run_gaps([Finding("H9", "NOT-RUN", reason)], not_run_free=True) == []
    assert not_run_gaps([Finding("H9", "NOT-RUN", UNREACHED)], not_run_free=True) == ["H9"]


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
    compared: dict[str, str] | None = None,
    too_few_clips: bool = False,
) -> ClosedLoop:
    """What the outcome reads of a loop, as plain data; the loop itself trains, and is tested where it trains."""
    finals = [] if final is None else [attempt(final, len(verdicts), is_final=True)]
    stages = [SimpleNamespace(stage=stage, verdict="FAIL", reason="the budget is spent") for stage in failed]
    plain = SimpleNamespace(
        attempts=[*(attempt(verdict, number) for number, verdict in enumerate(verdicts, 1)), *finals],
        final_problem=final_problem,
        compared=compared,
        problem_is_missing_evidence=too_few_clips,
        problem=problem,
        stages_failed=lambda: stages,
        results={},
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
    not_run_free: bool = False,
    explicit: Mapping[str, Any] | None = None,
) -> RunOutcome:
    return decide_outcome(
        ended,
        WHOLE if by_test is None else by_test,
        deselected or {},
        unreached or {},
        exitstatus=exitstatus,
        page_expected=page_expected,
        not_run_free=not_run_free,
        explicit=explicit or {},
    )


def decide_left_out(
    ended: ClosedLoop,
    left_out_by: tuple[str, bool],
    by_test: Mapping[str, list[Finding]] | None = None,
    *,
    id: str = "G5",
) -> RunOutcome:
    """The outcome of a session whose test of one requirement was left out."""
    rows = by_test or {"tests::all": [one for one in WHOLE["tests::all"] if one.id != id]}
    options: dict[str, Any] = {"exitstatus": 0, "page_expected": True, "not_run_free": False, "explicit": {}}
    return decide_outcome(ended, rows, {id: "t::one"}, {}, left_out_by=left_out_by, **options)


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
    long = decide(loop("PASS"), by_test, not_run_free=True)
    assert (long.status, long.exit_status) == ("invalid", 1)
    assert "1 requirement(s) were not run: H6" in long.sentence


@pytest.mark.parametrize(
    ("id", "explicit", "code"),
    [
        ("S1", {}, 1),
        ("S1", {"max_mse": 0.01}, 1),
        ("S1", {"train_stage": "all"}, 1),
        ("S1", {"train_stage": "dynamics"}, 0),
        ("S1", {"train_stage": "none"}, 0),
        ("S1", {"train_stage": "video_tokenizer"}, 1),
        ("S3", {"train_stage": "video_tokenizer"}, 0),
        ("S1", {"video_checkpoint": "results/x"}, 1),
        ("H2", {"video_checkpoint": "results/x"}, 0),
        ("H2", {"checkpoint_policy": "latest"}, 0),
        ("H2", {"checkpoint_policy": "fresh"}, 1),
        ("L9", {"enable_wandb_analysis": False}, 0),
        ("L9", {"enable_wandb_analysis": True}, 1),
        ("L1", {"cleanup_extra_processes": False}, 0),
        ("H6", {"nproc_per_node": 1}, 0),
        ("H6", {"nproc_per_node": 2}, 1),
        ("H6", {"allow_cpu_longrun": True}, 0),
        ("H1", {"train_stage": "dynamics"}, 0),
        ("G5", {"train_stage": "dynamics", "video_checkpoint": "a", "latent_checkpoint": "b"}, 1),
    ],
)
def test_only_an_option_that_leaves_a_requirement_out_excuses_it(id: str, explicit: dict[str, Any], code: int) -> None:
    """An option that states the default leaves nothing out; one that leaves out another requirement excuses nothing."""
    found = decide(loop("PASS"), with_finding(id, "NOT-RUN"), explicit=explicit, not_run_free=True)
    assert (found.exit_status, found.status) == (code, "invalid" if code else "passed")
    reason = next(one.reason for _, one in found.findings if one.id == id)
    assert reason.startswith("by choice (--") == (code == 0)


STAGE_ONLY: dict[str, Any] = {"train_stage": "video_tokenizer"}


def stage_findings(**verdicts: str) -> dict[str, list[Finding]]:
    """The findings of `--only-stage video_tokenizer`: what inference and the other stages carry was not run."""
    left_out = requested.left_out(STAGE_ONLY)
    rows = [finding(one.id, "NOT-RUN") if one.id in left_out else one for one in WHOLE["tests::all"]]
    rows = [
        Finding("S1", "PASS", "video_tokenizer: continue: The loss fell.") if one.id == "S1" else one for one in rows
    ]
    return {"tests::all": [finding(one.id, verdicts[one.id]) if one.id in verdicts else one for one in rows]}


@pytest.mark.requirement("H1", "S1")
def test_a_single_stage_that_passed_its_gate_is_a_passed_run_that_says_what_was_requested() -> None:
    found = decide(loop(), stage_findings(), explicit=STAGE_ONLY, not_run_free=True)
    assert (found.status, found.exit_status, found.complete) == ("passed", 0, True)
    assert found.sentence == (
        "PASS (stage video_tokenizer): its gate decided continue: The loss fell. The inference gate was not requested."
    )
    degraded = decide(loop(degraded=True), stage_findings(), explicit=STAGE_ONLY, not_run_free=True)
    assert degraded.status == "degraded"
    assert degraded.sentence.startswith("DEGRADED (stage video_tokenizer): its gate decided continue")


@pytest.mark.requirement("S1")
def test_a_single_stage_whose_own_requirements_do_not_hold_does_not_pass() -> None:
    broken = decide(loop(), stage_findings(M2="INVALID"), explicit=STAGE_ONLY, not_run_free=True)
    assert (broken.status, broken.exit_status) == ("invalid", 1)
    assert broken.sentence == "INVALID: the stage passed, but not everything around it: M2: M2 reason"
    missing = decide(loop(), stage_findings(S1="NOT-RUN"), explicit=STAGE_ONLY, not_run_free=True)
    assert (missing.status, missing.exit_status) == ("invalid", 1)
    assert "1 requirement(s) were not run: S1" in missing.sentence
    assert decide(loop(failed=("video_tokenizer",)), stage_findings(), explicit=STAGE_ONLY).status == "failed"


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    ("explicit", "deselected", "forced", "start"),
    [
        ({}, {}, False, "PASS: the error"),
        ({"train_stage": "none"}, {}, False, "PASS (no training): the error"),
        ({"train_stage": "none"}, {}, True, "PASS, teacher-forced: not a strict pass. The error"),
        ({"train_stage": "dynamics"}, {}, True, "PASS (stage dynamics), teacher-forced: not a strict pass. The error"),
        ({}, {"S1": "t::s1"}, False, "PASS (selected tests): the error"),
    ],
)
def test_the_headline_says_what_was_requested_and_shown(
    explicit: dict[str, Any], deselected: dict[str, str], forced: bool, start: str
) -> None:
    ended = loop("PASS")
    vars(ended.attempts[-1].measures)["teacher_forced"] = forced
    rows = {"tests::all": [one for one in WHOLE["tests::all"] if one.id not in deselected]}
    given = {f"{short}_checkpoint": "x" for short in ("video", "latent", "dynamics")} if explicit else {}
    found = decide(ended, rows, deselected=deselected, explicit={**given, **explicit}, not_run_free=True)
    assert found.sentence.startswith(start), found.sentence
    assert found.exit_status == 0


@pytest.mark.requirement("G8", "H3")
@pytest.mark.parametrize(
    ("limit", "explicit", "changes", "start"),
    [
        ("loop only", {}, {}, "PASS (loop only): the error"),
        ("loop only", {"train_stage": "none"}, {}, "PASS (loop only, no training): the error"),
        ("loop only", {}, {"degraded": True}, "DEGRADED (loop only): the error"),
        ("before G8", {}, {}, "PASS (before G8): the error"),
    ],
)
def test_the_limit_of_the_gates_pass_is_one_of_the_run(
    limit: str, explicit: dict[str, Any], changes: dict[str, Any], start: str
) -> None:
    ended = loop("PASS", **changes)
    vars(ended.attempts[-1].verdict)["sentence"] = f"PASS ({limit}): the error is 0.02."
    given = {f"{short}_checkpoint": "x" for short in ("video", "latent", "dynamics")} if explicit else {}
    found = decide(ended, explicit={**given, **explicit})
    assert found.sentence.startswith(start), found.sentence
    assert found.exit_status == 0
    assert limit_of(found.sentence) == limit
    assert limit_of(decide(loop("PASS")).sentence) is None


@pytest.mark.requirement("H3")
def test_a_rollout_that_feeds_nothing_back_is_no_strict_pass() -> None:
    ended = loop("PASS")
    vars(ended.attempts[-1].measures).update(generation_steps=2, prediction_horizon=2)
    assert decide(ended).sentence == "PASS, one-step: not a strict pass. The error is 0.02."
    vars(ended.attempts[-1].measures).update(prediction_horizon=1)
    assert decide(ended).sentence == "PASS: the error is 0.02."


def test_deselected_and_unreached_requirements_say_so() -> None:
    by_test = {"tests::all": [one for one in WHOLE["tests::all"] if one.id not in ("S1", "S2")]}
    found = decide(loop("PASS"), by_test, deselected={"S1": "t::s1"}, unreached={"S2": "t::s2"})
    told = {one.id: (test, one) for test, one in found.findings}
    assert told["S1"] == ("t::s1", Finding("S1", "NOT-RUN", "its test was deselected by the person who ran this"))
    assert told["S2"] == ("t::s2", Finding("S2", "NOT-RUN", "the session ended before its test ran"))


@pytest.mark.requirement("M4")
@pytest.mark.parametrize("verdict", ["PASS", "NOT-RUN"])
def test_what_is_known_of_a_watch_is_stated_once_and_fails_no_run(verdict: str) -> None:
    known = Finding("M4", verdict, "as the record says", "Logs/monitor_4h_x.log")
    by_test = {"tests::all": [known if one.id == "M4" else one for one in WHOLE["tests::all"]]}
    found = decide(loop("PASS"), by_test, not_run_free=True)
    assert [one for one in found.findings if one[1].id == "M4"] == [("tests::all", known)]
    assert (found.status, found.exit_status) == ("passed", 0)


@pytest.mark.requirement("A8")
def test_without_pytest_html_the_page_was_not_run() -> None:
    by_test = {"tests::all": [one for one in WHOLE["tests::all"] if one.id != "A8"]}
    found = decide(loop("PASS"), by_test, page_expected=False)
    page = next(one for _, one in found.findings if one.id == "A8")
    assert page == Finding("A8", "NOT-RUN", "by choice (-p no:html): pytest-html is switched off")
    expected = next(one for _, one in decide(loop("PASS")).findings if one.id == "A8")
    assert expected.verdict == "PASS"


@pytest.mark.requirement("G5")
def test_a_pass_under_a_profile_that_judges_no_model_is_one_of_the_loop_only() -> None:
    options: dict[str, Any] = {"exitstatus": 0, "page_expected": True, "not_run_free": False, "explicit": {}}
    outcome = decide_outcome(loop("PASS"), WHOLE, {}, {}, judges_model=False, **options)
    assert (outcome.status, outcome.exit_status) == ("passed", 0)
    assert outcome.sentence.startswith("PASS (loop only): the error is 0.02.")
    assert outcome.sentence.endswith("shown and not judged: no statement about the model is made.")
    failed = decide_outcome(loop("FAIL"), WHOLE, {}, {}, judges_model=False, **{**options, "exitstatus": 1})
    assert failed.status == "failed"
    assert "loop only" not in failed.sentence


@pytest.mark.requirement("C2")
def test_stages_of_different_sizes_degrade_a_run_with_that_cause() -> None:
    findings = {"tests::all": [finding("C2", "DEGRADED"), *(one for one in WHOLE["tests::all"] if one.id != "C2")]}
    options: dict[str, Any] = {"exitstatus": 0, "page_expected": True, "not_run_free": False, "explicit": {}}
    outcome = decide_outcome(loop("PASS"), findings, {}, {}, **options)
    assert outcome.status == "degraded"
    assert outcome.sentence.endswith("The stages have different backbones (C2).")
    assert "one clip per GPU" not in outcome.sentence


@pytest.mark.requirement("G9")
def test_a_pass_says_how_the_model_compares_with_the_baseline() -> None:
    told = "SAME: error went from 0.0100 to 0.0101 (+1.0 %), on the same 64 clips. With one model a side, more."
    found = decide(loop("PASS", compared={"sentence": told}))
    assert found.sentence.endswith(f"Against the baseline: {told.partition('. ')[0]}.")
    assert "Against the baseline" not in decide(loop("PASS")).sentence
