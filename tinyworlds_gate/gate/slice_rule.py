"""G6 on faults that are concentrated in some steps, places, kinds or single objects (pure functions)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinyworlds_gate.gate.object_names import kind_name, percent

LEAST_OF_REST = 0.75
"""Share of the rest's rate that the upper end of each slice must reach: a model that loses objects at random, or more
of them from step to step, has no slice so far below the others."""
LEAST_SPREAD = 0.5
"""Variance of the number of wrong objects, as a share of that of random ones, which its upper end must reach."""
LEAST_WRONG = 0.5
"""Wrong objects in a frame, on average: half of the clips have one throughout, or all of them in half of the steps."""
RECALL, PRECISION = "recall", "precision"
STEPS, EVERY, PLACE, KIND, IDENTITY = "steps", "every", "place", "kind", "identity"
VERBS = {RECALL: "found", PRECISION: "generated ones right"}

Record = Mapping[str, Any]


def slice_faults(record: Record, of: str) -> Iterator[str]:
    """Yield a clause for the slice that loses most of its recall or precision, and one for single objects."""
    rows = [row for row in record.get("slices") or [] if row["of"] == of]
    failed = [row for row in rows if row["slice"] != IDENTITY and row["high"] < LEAST_OF_REST]
    if failed:
        yield _slice_text(max(failed, key=_loss))
    yield from (_identity_text(row) for row in rows if row["slice"] == IDENTITY and _is_systematic(row))


def _loss(row: Record) -> float:
    """The sightings that are lost in a slice, fewer where others of it are right."""
    ratio = row["share"] / row["rest"]
    return float(row["sightings"] * row["rest"] * (1 - ratio) ** 2)


def _is_systematic(row: Record) -> bool:
    return bool(row["spread_high"] < LEAST_SPREAD and row["wrong_per_frame"] >= LEAST_WRONG)


def _slice_text(row: Record) -> str:
    where, rest = slice_name(row)
    return (
        f"{kind_name(row)} {where}: {percent(row['share'])} of {row['sightings']} {VERBS[row['of']]}, "
        f"{percent(row['rest'])} {rest} (at most {percent(row['high'])} of that; at least {percent(LEAST_OF_REST)} "
        "is required)"
    )


def slice_name(row: Record) -> tuple[str, str]:
    """Return where a slice is and what it is compared with: `in steps 11 to 12`, `in the steps beside them`."""
    if row["slice"] == STEPS:
        if row["first"] == row["last"]:
            return f"in step {row['first']}", "in the steps beside it"
        return f"in steps {row['first']} to {row['last']}", "in the steps beside them"
    if row["slice"] == EVERY:
        return f"in every {_ordinal(row['every'])} step from step {row['first']} on", "in the other steps"
    if row["slice"] == PLACE:
        sides = f"columns {row['left_px']} to {row['right_px']} and rows {row['top_px']} to {row['bottom_px']}"
        return f"{'outside of' if row['outside'] else 'in'} {sides}", "in the rest of the frame"
    return "in all steps", "of the other objects"


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _identity_text(row: Record) -> str:
    what = "are not found" if row["of"] == RECALL else "are shown where the true frames show nothing like them"
    return (
        f"as many objects {what} in every clip: {row['wrong_per_frame']:.2g} in each frame, in {row['clips_with']} of "
        f"{row['clips']} clips; their number varies {row['spread']:.2g} times as much as random losses (at most "
        f"{row['spread_high']:.2g}; at least {LEAST_SPREAD:g} is required)"
    )
