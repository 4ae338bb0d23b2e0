"""G7 at its limit, and its text. ``pytest tests/unit/gate/test_past_rule.py``"""

from __future__ import annotations

import math

import pytest

from tinyworlds_gate.gate.past_rule import judge_past, meets_past, past_text

TEXT = "with the context of another clip the error is typically 1.50 times the own one"


@pytest.mark.requirement("G7")
@pytest.mark.parametrize(
    ("low", "verdict", "interval"),
    [
        (1.25, "PASS", "95 % interval from 1.25"),
        (1.2, "FAIL", "95 % interval from 1.20"),
        (None, "FAIL", "no interval"),
        (math.nan, "FAIL", "no interval"),
        (math.inf, "FAIL", "no interval"),
    ],
)
def test_the_lower_end_of_the_interval_must_reach_the_factor(low: float | None, verdict: str, interval: str) -> None:
    record = {"no_occasion": None, "ratio": 1.5, "ratio_low": low}
    more = "" if verdict == "PASS" else ": what the model generates hardly depends on the frames that it was given"
    assert past_text(record) == f"{TEXT} ({interval})"
    assert judge_past(record, 1.25) == (verdict, f"{TEXT} ({interval}); at least 1.25 is required{more}")
    assert meets_past(record, 1.25) is (verdict == "PASS")


@pytest.mark.requirement("G7")
def test_without_a_probe_it_is_invalid_and_without_an_occasion_not_run() -> None:
    missing = "no probe generated frames from the context of another clip; run inference again"
    assert judge_past(None, 1.0) == ("INVALID", missing)
    few = {"no_occasion": "few episodes", "ratio": 1.5, "ratio_low": 9.0}
    assert judge_past(few, 1.0) == ("NOT-RUN", "no occasion: few episodes")
    assert not meets_past(few, 1.0)
