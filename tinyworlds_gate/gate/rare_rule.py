"""G6 on what is rare: events, displays and extra objects that the shares of all objects hide (pure functions)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinyworlds_gate.gate.object_names import kind_name, percent, rare_name

LEAST_SIGHTINGS = 30
"""Sightings of a labelled kind, or extra objects of one kind, from which it is judged by itself."""
LEAST_EVENTS = 5
LEAST_EPISODES = 5
LEAST_RARE = 0.46
"""What the upper end of the share of rare events must reach: 0 of 5 fail (0.45), 1 of 8 do not (0.47)."""

Record = Mapping[str, Any]


def rare_faults(record: Record) -> Iterator[str]:
    """Yield a clause for each sort of events that the generated frames have (almost) never."""
    failed: list[Record] = []
    for row in record.get("rare") or []:
        of_kind_too = any(one["what"] == row["what"] and "colour" not in one for one in failed)
        if _is_judged(row) and row["high"] < LEAST_RARE and not of_kind_too:
            failed.append(row)
            yield (
                f"{rare_name(row)}: {row['found']} of {row['events']} are found, and the generated frames have "
                f"{row['generated']} of their own (at most {percent(row['high'])}, 95 % bound over {row['episodes']} "
                f"episodes; at least {percent(LEAST_RARE)} is required)"
            )


def extra_faults(record: Record, least: float) -> Iterator[str]:
    """Yield a clause for each kind of extra objects of which most are none."""
    for row in record.get("extras") or []:
        high = row["precision_high"]
        enough = row["extra"] >= LEAST_SIGHTINGS and row["episodes"] >= LEAST_EPISODES
        if enough and high is not None and high < least:
            yield (
                f"{row['extra']} times {kind_name(row)} are generated where the true frames show nothing like them, in "
                f"{row['episodes']} episodes: {percent(row['precision'])} of this kind are right (95 % interval up to "
                f"{percent(high)}; at least {percent(least)} is required)"
            )


def not_judged(record: Record) -> str:
    """Return what is too rare to judge, as the end of a sentence; '' if there is none."""
    few = [f"{row['events']} that {row['what']}" for row in record.get("rare") or [] if _is_few(row)]
    extra = [row["extra"] for row in record.get("extras") or [] if row["extra"] < LEAST_SIGHTINGS]
    parts = [f"{', '.join(few)} (fewer than {LEAST_EVENTS} in {LEAST_EPISODES} episodes)"] if few else []
    if extra:
        kinds = f"in {len(extra)} kinds" if len(extra) > 1 else "of one kind"
        parts.append(f"{sum(extra)} extra objects {kinds} (fewer than {LEAST_SIGHTINGS} of a kind)")
    return f"; not judged: {'; '.join(parts)}" if parts else ""


def _is_judged(row: Record) -> bool:
    return row["events"] >= LEAST_EVENTS and row["episodes"] >= LEAST_EPISODES


def _is_few(row: Record) -> bool:
    return "colour" not in row and not _is_judged(row)
