"""What a finding is: broken, left out, without an occasion, or missing. ``pytest tests/unit/findings/test_base.py``"""

from __future__ import annotations

import pytest

from tinyworlds_gate.findings.base import (
    BY_CHOICE,
    DESELECTED,
    ELSEWHERE,
    NO_OCCASION,
    NOT_SELECTED,
    UNREACHED,
    UNSTATED,
    Finding,
    by_choice,
    chunk_name,
    finding,
    follows,
    no_occasion,
    not_run,
)


@pytest.mark.parametrize("verdict", ["PASS", "DEGRADED", "FAIL", "INVALID", "NOT-RUN"])
@pytest.mark.parametrize(
    "reason", [NO_OCCASION, BY_CHOICE, DESELECTED, NOT_SELECTED, ELSEWHERE, UNREACHED, UNSTATED, ""]
)
def test_only_a_verdict_of_not_run_is_left_out_missing_or_without_an_occasion(verdict: str, reason: str) -> None:
    one = Finding("S1", verdict, f"{reason}: more")
    not_run = verdict == "NOT-RUN"
    assert one.is_broken == (verdict in ("FAIL", "INVALID"))
    assert one.had_no_occasion == (not_run and reason == NO_OCCASION)
    assert one.was_left_out == (not_run and reason in (BY_CHOICE, DESELECTED, NOT_SELECTED))
    assert one.is_missing == (not_run and reason in (ELSEWHERE, UNREACHED, UNSTATED, ""))
    renamed = by_choice(one, {"S1": "--train-stage none"})
    assert renamed.reason == (f"by choice (--train-stage none): {one.reason}" if one.is_missing else one.reason)
    assert by_choice(one, {"S2": "--train-stage none"}) == one


def test_a_finding_has_all_its_problems_and_a_cause_comes_first() -> None:
    assert finding("S1", [], "fine", "log") == Finding("S1", "PASS", "fine", "log")
    assert finding("S1", ["", "a", "", "b"], "fine", "log") == Finding("S1", "FAIL", "a; b", "log")
    assert not_run("S1", "a") == Finding("S1", "NOT-RUN", "a")
    assert no_occasion("S1", "a") == Finding("S1", "NOT-RUN", "no occasion: a")
    cause = Finding("S3", "INVALID", "b", "log")
    assert follows("S4", cause) == Finding("S4", "INVALID", "follows from S3: b", follows_from="S3")
    assert follows("S4", cause, "c", "x") == Finding("S4", "INVALID", "follows from S3: c", "x", "S3")
    assert chunk_name({"chunk": 2, "stage": "dynamics"}) == "chunk 2 (dynamics)"
