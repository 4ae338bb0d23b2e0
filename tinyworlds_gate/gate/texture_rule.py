"""G6 on things that differ from the ground by their fine texture alone (pure functions; docs/gate.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinyworlds_gate.gate.object_names import percent

LEAST_JUDGED = 30
"""Sightings, or frames: fewer are not judged."""
LEAST_EPISODES = 5

Record = Mapping[str, Any]


def texture_faults(record: Record, least: float) -> Iterator[str]:
    """Yield a clause if such things are lost, or are where there are none; ``least``: the share that must be right.

    Records of older versions have nothing on it.
    """
    rows = record.get("textures")
    if not rows:
        return
    things, frames = rows["things"], rows["frames"]
    if _is_wrong(things, least):
        yield (
            f"of things that differ from the ground by their fine texture only (stripes, checks, dither) "
            f"{things['right']} of {things['judged']} sightings are found{_limit(things, least)}"
        )
    if _is_wrong(frames, least):
        yield (
            f"in {frames['judged'] - frames['right']} of {frames['judged']} frames something moves that differs from "
            f"the ground by its fine texture, where the true frames show nothing{_limit(frames, least, 'without: ')}"
        )


def _is_wrong(row: Record, least: float) -> bool:
    counts = row["judged"] >= LEAST_JUDGED and row["episodes"] >= LEAST_EPISODES and row["high"] is not None
    return bool(counts and row["high"] < least)


def _limit(row: Record, least: float, name: str = "") -> str:
    return f" ({name}95 % interval up to {percent(row['high'])}; at least {percent(least)} is required)"
