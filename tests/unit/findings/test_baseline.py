"""G9: what the comparison with the baseline means for the run.

pytest tests/unit/findings/test_baseline.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.findings.baseline import accepted_baseline

GATE = {"event": "gate_verdict", "attempt": 1, "draw": 1, "verdict": "PASS", "conditions": [], "measures": None}


def events(
    verdict: str | None,
    required: str | None,
    *,
    options: dict[str, Any] | None = None,
    gate: bool = True,
    attempt: int = 1,
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"event": "run_started", "options": options or {}}]
    conditions = [{"id": f"G{number}", "verdict": "PASS", "reason": "good"} for number in range(1, 6)]
    found += [{**GATE, "conditions": conditions}] if gate else []
    if verdict is not None:
        baseline = {"path": "docs/baseline.json", "sha256": "0" * 64}
        compared = {
            "attempt": attempt,
            "draw": 1,
            "verdict": verdict,
            "sentence": f"{verdict}: told",
            "required": required,
        }
        found.append({"event": "baseline_compared", "baseline": baseline, **compared})
    return found


@pytest.mark.requirement("G9")
@pytest.mark.parametrize(
    ("verdict", "required", "expected"),
    [
        ("BETTER", "not worse", "PASS"),
        ("SAME", "not worse", "PASS"),
        ("WORSE", "not worse", "FAIL"),
        ("NOT-COMPARABLE", "not worse", "FAIL"),
        ("BETTER", "better", "PASS"),
        ("SAME", "better", "FAIL"),
        ("WORSE", "better", "FAIL"),
        ("NOT-COMPARABLE", "better", "FAIL"),
        ("WORSE", None, "NOT-RUN"),
        ("WORSE", "something of a later version", "FAIL"),
    ],
)
def test_the_row_holds_where_the_required_verdict_was_reached(
    verdict: str, required: str | None, expected: str
) -> None:
    row = accepted_baseline(events(verdict, required, options={"baseline": "docs/baseline.json"}))
    assert row.verdict == expected
    assert f"{verdict}: told" in row.reason
    assert not row.is_missing


def test_without_a_baseline_there_is_no_occasion() -> None:
    row = accepted_baseline(events(None, None))
    assert (row.verdict, row.had_no_occasion) == ("NOT-RUN", True)


@pytest.mark.parametrize(
    "journal",
    [
        events(None, None, options={"baseline": "b.json"}),
        events("SAME", "not worse", options={"baseline": "b.json"}, attempt=2),
        events(None, None, options={"baseline": "b.json"}, gate=False),
    ],
)
def test_a_baseline_that_was_named_and_not_compared_is_missing(journal: list[dict[str, Any]]) -> None:
    assert accepted_baseline(journal).is_missing
