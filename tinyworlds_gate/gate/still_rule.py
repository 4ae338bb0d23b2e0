"""G6 on what stands still in the true frames: it stays as it was (pure functions; docs/gate.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinyworlds_gate.gate.object_names import percent

LEAST_BLOCKS = 30
LEAST_EPISODES = 5
MOST_WRONG = 0.1
"""Share of the blocks that may be wrong: a line across the frame changes an eighth of them."""

Record = Mapping[str, Any]


def still_faults(record: Record) -> Iterator[str]:
    """Yield a clause if what stands still does not stay as it was; records of older versions have nothing on it."""
    row = record.get("still")
    if row is None or row["blocks"] < LEAST_BLOCKS or row["episodes"] < LEAST_EPISODES or row["wrong_low"] is None:
        return
    if row["wrong_low"] > MOST_WRONG:
        yield (
            f"what stands still in the true frames does not stay as it was (noise, lines, a veil or a tint): "
            f"{percent(row['wrong'])} of {row['blocks']} blocks are wrong (95 % interval from "
            f"{percent(row['wrong_low'])}; at most {percent(MOST_WRONG)} is allowed)"
        )
