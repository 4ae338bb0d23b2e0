"""What the steps of a rollout read: frames that the model generated (strict), true frames, or no step before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEACHER_FORCED, ONE_STEP, STRICT, UNKNOWN = "teacher-forced", "one-step", "strict autoregressive", "unknown"


def fed_back_steps(measures: Mapping[str, Any]) -> int | None:
    """Return how many steps of a rollout read frames that the model generated; None: not known.

    ``measures`` are raw ones or those of a journal. A step generates ``prediction_horizon`` frames (None: not known;
    missing in journals of older versions: 1), and the first step reads true frames only.
    """
    if measures.get("teacher_forced"):
        return 0
    frames, horizon = measures.get("generation_steps"), measures.get("prediction_horizon", 1)
    return None if frames is None or horizon is None else max(0, int(frames) // int(horizon) - 1)


def mode(measures: Mapping[str, Any]) -> str:
    """Return the kind of a rollout, a constant of this module; only ``STRICT`` is strict."""
    if measures.get("teacher_forced"):
        return TEACHER_FORCED
    steps = fed_back_steps(measures)
    return UNKNOWN if steps is None else STRICT if steps > 0 else ONE_STEP


def mode_text(measures: Mapping[str, Any]) -> str:
    """Return `strict autoregressive (11 steps fed back)`, or why the rollout is not strict; empty: not known."""
    steps = fed_back_steps(measures)
    return {
        TEACHER_FORCED: "teacher-forced (not strict)",
        ONE_STEP: "one-step (no frame is fed back, so it is not strict)",
        STRICT: f"strict autoregressive ({steps} {'step' if steps == 1 else 'steps'} fed back)",
        UNKNOWN: "",
    }[mode(measures)]
