"""The thresholds of the inference gate: their text, and how journals of other versions are read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

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


def test_every_requirement_is_described_in_its_order() -> None:
    assert GateThresholds().describe() == "a rollout error of at most 0.03; clips of at least 5 episodes"
    upper = "the upper end of its 95 % interval"
    assert STRICT_THRESHOLDS.describe() == (
        f"a rollout error of at most 0.03; {upper} at most 0.03 too; {upper} below the error of always answering "
        f"the mean "
        "frame; the lower end of the skill's 95 % interval above 0 (better than copying the last frame); the same "
        "against "
        "the strongest prediction that needs no model (G8); at least 90 % of the small moving objects found in "
        "their place "
        "(G6); the context of another clip worse by a factor of at least 1.05 (G7); random actions worse by at least "
        "0.5 dB; frames of the game with freely chosen codes; at least 3 action codes in use, which follow the true "
        "actions; clips of at least 20 episodes"
    )


def test_the_built_in_thresholds_require_the_error_and_five_episodes() -> None:
    assert {name: value for name, value in GateThresholds().as_record().items() if value} == {
        "max_mse": 0.03,
        "min_episodes": 5,
    }


@pytest.mark.parametrize("name", ["max_mse", "min_object_share", "min_past_ratio", "min_action_codes", "min_episodes"])
def test_a_threshold_is_above_zero(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        GateThresholds.from_record({name: 0})
    with pytest.raises(ValidationError, match=name):
        GateThresholds.from_record({name: float("inf")})
