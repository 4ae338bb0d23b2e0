"""G6 on the light of the frames: it changes as the true light does (pure functions; docs/gate.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LEAST_FRAMES = 10
LEAST_EPISODES = 5
LEAST_SKILL = 0.1
"""The upper end of the interval must exceed it: frames whose light stays as it was have a skill of 0."""
OF_WHOLE = 1.5
"""A part of the frame is named where its light changes by more than this, times the change of the whole frame."""

Record = Mapping[str, Any]


def light_faults(record: Record) -> Iterator[str]:
    """Yield a clause if the light stays as it was or is wrong; records of older versions have nothing on it."""
    wrong = [row for row in record.get("light") or () if _is_wrong(row)]
    if wrong:
        row = max(wrong, key=lambda one: one["change"] * (OF_WHOLE if "whole" in one["area"] else 1.0))
        yield (
            f"the light of {row['area']} changes in {row['frames']} true frames, and the generated frames have it no "
            f"better than {row['reference']} (skill {row['skill']:.2f}, 95 % interval to {row['skill_high']:.2f}; more "
            f"than {LEAST_SKILL:g} is required)"
        )


def _is_wrong(row: Record) -> bool:
    counts = row["frames"] >= LEAST_FRAMES and row["episodes"] >= LEAST_EPISODES and row["skill_high"] is not None
    return bool(counts and row["skill_high"] <= LEAST_SKILL)
