"""What the steps of a rollout read. ``pytest tests/unit/reference/rollout/test_mode.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.reference.rollout.mode import fed_back_steps, mode, mode_text


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("measures", "steps", "kind", "text"),
    [
        ({"generation_steps": 12}, 11, "strict autoregressive", "strict autoregressive (11 steps fed back)"),
        ({"generation_steps": 12, "prediction_horizon": 6}, 1, "strict autoregressive", "(1 step fed back)"),
        ({"generation_steps": 12, "prediction_horizon": 12}, 0, "one-step", "no frame is fed back, so it is not"),
        ({"generation_steps": 1, "prediction_horizon": 2}, 0, "one-step", "no frame is fed back"),
        ({"generation_steps": 1}, 0, "one-step", "no frame is fed back, so it is not strict"),
        ({"generation_steps": 12, "teacher_forced": True}, 0, "teacher-forced", "teacher-forced (not strict)"),
        ({"generation_steps": 12, "prediction_horizon": None}, None, "unknown", ""),
        ({}, None, "unknown", ""),
    ],
)
def test_a_rollout_is_strict_by_the_steps_that_are_fed_back(
    measures: dict[str, Any], steps: int | None, kind: str, text: str
) -> None:
    assert fed_back_steps(measures) == steps
    assert mode(measures) == kind
    assert text in mode_text(measures)
    assert ("strict autoregressive" in mode_text(measures)) is bool(steps)
