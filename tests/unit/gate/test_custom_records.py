"""Entries of a project's own metrics as text. ``pytest tests/unit/gate/test_custom_records.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.gate.custom_records import interval_text, record_limit, record_text, value_text

RECORD: dict[str, Any] = {
    **{"name": "hue", "value": 0.0123456, "low": None, "high": None, "at_most": None, "at_least": None},
    **{"unit": "", "verdict": None, "problem": None},
}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "0.01235"),
        ({"unit": "dB"}, "0.01235 dB"),
        ({"value": None}, "not measured"),
        ({"at_most": 0.01234}, "0.01235"),
        ({"at_most": 0.012346}, "0.0123456"),
        ({"at_least": 0.012346}, "0.0123456"),
        ({"value": 0.02, "at_most": 0.02}, "0.02"),
        ({"value": 0.1 + 0.2, "at_most": 0.3}, "0.30000000000000004"),
        ({"value": 1, "at_most": None, "at_least": 3}, "1"),
    ],
)
def test_a_value_has_the_digits_that_tell_it_from_its_limit(changes: dict[str, Any], text: str) -> None:
    assert value_text(RECORD | changes) == text


def test_an_interval_and_a_limit_as_text() -> None:
    assert interval_text(RECORD) == ""
    assert interval_text(RECORD | {"low": 0.0111111, "high": 0.2}) == "0.01111 to 0.2"
    assert record_limit(RECORD) == ""
    assert "0.02" in record_limit(RECORD | {"at_most": 0.02})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "hue 0.01235, only shown"),
        ({"problem": "it raised"}, "hue: only shown, not measured: it raised"),
        ({"problem": "it raised", "verdict": "INVALID"}, "hue: INVALID, not measured: it raised"),
        ({"low": 0.01, "high": 0.02}, "hue 0.01235 (95 % interval 0.01 to 0.02), only shown"),
    ],
)
def test_an_entry_is_a_line(changes: dict[str, Any], text: str) -> None:
    assert record_text(RECORD | changes) == text
    limited = record_text(RECORD | {"at_most": 0.02, "verdict": "PASS"})
    assert limited == f"hue 0.01235, {record_limit(RECORD | {'at_most': 0.02})}: PASS"
