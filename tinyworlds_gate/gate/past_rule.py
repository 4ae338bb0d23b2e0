"""G7: whether what the model generates depends on the frames that it was given (pure functions; docs/gate.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS

Record = Mapping[str, Any]


def judge_past(record: Record | None, least: float) -> tuple[str, str]:
    """Return the verdict of G7 and its reason; ``least`` is the factor that must be reached."""
    if record is None:
        return INVALID, "no probe generated frames from the context of another clip; run inference again"
    if record["no_occasion"]:
        return NOT_RUN, f"no occasion: {record['no_occasion']}"
    what = f"{past_text(record)}; at least {least:g} is required"
    if meets_past(record, least):
        return PASS, what
    return FAIL, f"{what}: what the model generates hardly depends on the frames that it was given"


def meets_past(record: Record, least: float) -> bool:
    """Whether the lower end of the interval reaches the factor."""
    low = None if record["no_occasion"] else record["ratio_low"]
    return low is not None and math.isfinite(low) and low >= least


def past_text(record: Record) -> str:
    """`with the context of another clip the error is typically 2.31 times the own one (95 % interval from 2.02)`."""
    low = record["ratio_low"]
    end = "no interval" if low is None or not math.isfinite(low) else f"95 % interval from {low:.2f}"
    return f"with the context of another clip the error is typically {record['ratio']:.2f} times the own one ({end})"
