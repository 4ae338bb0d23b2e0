"""The thresholds of the inference gate: their text, and how journals of other versions are read."""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.config.profile import Thresholds
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS, GateThresholds, recorded_thresholds


def test_a_journal_gives_back_what_was_recorded() -> None:
    assert recorded_thresholds({"thresholds": STRICT_THRESHOLDS.as_record()}) == STRICT_THRESHOLDS


def test_a_key_that_an_older_journal_lacks_was_not_required() -> None:
    found = recorded_thresholds({"thresholds": {"max_mse": 0.02}})
    assert found is not None
    assert found.describe() == "a rollout error of at most 0.02"


@pytest.mark.parametrize(
    "event",
    [None, {}, {"thresholds": None}, {"thresholds": 5}, {"thresholds": {"later": 1}}, {"thresholds": {"max_mse": "x"}}],
)
def test_a_record_that_this_version_cannot_read_gives_none(event: dict[str, Any] | None) -> None:
    assert recorded_thresholds(event) is None


def test_a_verdict_records_the_gate_s_own_thresholds_and_none_of_the_stages() -> None:
    assert Thresholds().as_record() == GateThresholds().as_record()
    assert set(STRICT_THRESHOLDS.as_record()) == set(GateThresholds.model_fields)
