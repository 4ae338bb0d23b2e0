"""G6: whether the generated frames show the small moving objects of the true frames (pure functions; docs/gate.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinyworlds_gate.gate.light_rule import light_faults
from tinyworlds_gate.gate.object_names import kind_name, percent
from tinyworlds_gate.gate.rare_rule import LEAST_EPISODES, LEAST_SIGHTINGS, extra_faults, not_judged, rare_faults
from tinyworlds_gate.gate.slice_rule import PRECISION, RECALL, slice_faults
from tinyworlds_gate.gate.still_rule import still_faults
from tinyworlds_gate.gate.texture_rule import texture_faults
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS

PART_BELOW = 0.1
"""A third of the rollout, one kind of objects, and the precision may reach this much less than the recall of all: parts
have fewer sightings, and a blurred background leaves edges that look like objects."""
SHOWN_KINDS = 5
"""Of lost, and of added objects; the journal has all of them."""
PARTS = ("first", "middle", "last")
FATES = {"missing": "missing", "displaced": "elsewhere", "replaced": "replaced by something else"}
LOOKS = {"mirrored": "are mirrored", "like_others": "look like another one of their kind at another time or place"}

Record = Mapping[str, Any]


def judge_objects(record: Record | None, least: float) -> tuple[str, str]:
    """Return the verdict of G6 and its reason; ``least`` is the share that must be reached."""
    if record is None:
        return INVALID, "the objects were not measured, because there are no generated frames to read"
    faults = [] if record["no_occasion"] else list(object_faults(record, least))
    faults += _other_faults(record, least)
    if faults:
        return FAIL, "objects: " + "; ".join(faults)
    if not record["no_occasion"]:
        return PASS, f"objects: {rates_text(record)}{not_judged(record)}"
    for which, part in _judged_parts(record):
        return PASS, f"objects in the part {which}: {rates_text(part)}{not_judged(part)}"
    return NOT_RUN, f"no occasion: {record['no_occasion']}"


def of_precision(least: float) -> float:
    """Return the smallest precision, and the smallest recall of a part, where all objects need this recall."""
    return round(least - PART_BELOW, 6)


def meets(record: Record, least: float) -> bool:
    """Whether nothing is wrong with the objects."""
    elsewhere = _other_faults(record, least)
    if record["no_occasion"]:
        return bool(_judged_parts(record)) and not any(elsewhere)
    return not any((*elsewhere, *object_faults(record, least)))


def rates_text(record: Record) -> str:
    """`98 % of 200 found (95 % interval from 97 %), 100 % of the generated ones right (from 99 %)`."""
    low = {name: percent(record[f"{name}_low"]) for name in ("recall", "precision")}
    found = f"{percent(record['recall'])} of {record['sightings']} found (95 % interval from {low['recall']})"
    return f"{found}, {percent(record['precision'])} of the generated ones right (from {low['precision']})"


def part_faults(record: Record, least: float) -> Iterator[str]:
    """Yield a clause for each thing that is wrong in a part of the screen that scrolls otherwise than the rest."""
    for which, part in _judged_parts(record):
        yield from (f"in the part {which}: {one}" for one in object_faults(part, least))


def _other_faults(record: Record, least: float) -> list[str]:
    """What is wrong beside the objects of the whole frame; it is judged without an occasion, too."""
    return [
        *part_faults(record, least),
        *still_faults(record),
        *light_faults(record),
        *texture_faults(record, of_precision(least)),
    ]


def _judged_parts(record: Record) -> list[tuple[str, Record]]:
    stays, bands = record.get("fixed_part"), record.get("bands") or []
    parts = [("that stays while the rest scrolls", stays), *(("that scrolls by itself", one) for one in bands)]
    return [(which, part) for which, part in parts if part and not part["no_occasion"]]


def object_faults(record: Record, least: float) -> Iterator[str]:
    """Yield a clause for each thing that is wrong with the objects; none: they pass."""
    limit, of_part = percent(least), of_precision(least)
    low, mistakes = record["recall_low"], record["mistakes"]
    poor = [kind for kind in record["kinds"] if kind["recall"] < of_part]
    if low is None or low < least:
        fates = ", ".join(f"{mistakes[key]} are {text}" for key, text in FATES.items() if mistakes[key])
        found = f"{percent(record['recall'])} of {record['sightings']} sightings are found in their place"
        yield (
            f"{found} (95 % interval from {percent(low)}; at least {limit} is required): "
            f"{fates or 'too few to be sure'}"
        )
    moved, baseline = record["moved_recall_low"], _best_baseline(record)
    if low is not None and low >= least and (moved is None or moved < of_part):
        found = f"only {percent(record['moved_recall'])} are found (from {percent(moved)})"
        yield f"of those that moved since the context {found}"
    if low is not None and low >= least and low <= baseline[1]:
        yield f"that is no more than {baseline[0]} finds ({percent(baseline[1])})"
    yield from _first([_kind_text(kind) for kind in poor])
    for kind in record["labels"] or []:
        if kind["sightings"] >= LEAST_SIGHTINGS and kind["episodes"] >= LEAST_EPISODES and kind["recall"] < of_part:
            yield _label_text(kind)
    for part, share in zip(PARTS, record["recall_by_part"], strict=False):
        if share is not None and share < of_part and (low is not None and low >= least):
            yield f"in the {part} third of the rollout only {percent(share)} are found"
    if low is not None and low >= least and not poor:
        yield from slice_faults(record, RECALL)
    yield from rare_faults(record)
    yield from onward_faults(record, of_part)
    yield from look_faults(record, of_part)
    extra = list(extra_faults(record, of_part))
    yield from _first(extra)
    shown, mistakes = record["precision_low"], record["mistakes"]
    if shown is None or shown < of_part:
        behind = mistakes["left_behind"]
        where = f", {behind} times where the last context frame shows it (frozen)" if behind else ""
        yield (
            f"{mistakes['extra']} times something stands where the true frames show nothing like it{where}: "
            f"{percent(record['precision'])} of the generated objects are right (95 % interval from {percent(shown)}; "
            f"at least {percent(of_part)} is required)"
        )
        return
    for part, share in zip(PARTS, record["precision_by_part"], strict=False):
        if share is not None and share < of_part:
            yield f"in the {part} third of the rollout only {percent(share)} of the generated objects are right"
    if not extra:
        yield from slice_faults(record, PRECISION)


def _first(clauses: Sequence[str]) -> Iterator[str]:
    """The first clauses about kinds of objects, and how many more there are: a sentence has to be read."""
    yield from clauses[:SHOWN_KINDS]
    more = len(clauses) - SHOWN_KINDS
    if more > 0:
        yield f"and {more} more kinds like these" if more > 1 else "and one more kind like these"


def onward_faults(record: Record, least: float) -> Iterator[str]:
    """Yield a clause if objects that the context shows are lost over terrain that it does not show."""
    row = record.get("onward")
    if (
        row
        and row["sightings"] >= LEAST_SIGHTINGS
        and row["episodes"] >= LEAST_EPISODES
        and (row["high"] or 0.0) < least
    ):
        yield (
            f"of objects that go on over terrain which the context does not show, {row['found']} of "
            f"{row['sightings']} sightings are found (95 % interval up to {percent(row['high'])}; at least "
            f"{percent(least)} is required)"
        )


def look_faults(record: Record, least: float) -> Iterator[str]:
    """Yield a clause for found objects that are mirrored or look like others of their kind."""
    for row in record.get("looks") or []:
        if row["judged"] < LEAST_SIGHTINGS or row["episodes"] < LEAST_EPISODES:
            continue
        if row["right_high"] < least:
            yield (
                f"of {row['judged']} found objects {row['wrong']} {LOOKS[row['looks']]} (right: 95 % interval up to "
                f"{percent(row['right_high'])}; at least {percent(least)} is required)"
            )


def _best_baseline(record: Record) -> tuple[str, float]:
    name, rates = max(record["baselines"].items(), key=lambda item: item[1]["recall"] or 0.0)
    return name.replace("_", " "), rates["recall"] or 0.0


def _kind_text(kind: Record) -> str:
    fates = ", ".join(f"{kind[key]} {text}" for key, text in FATES.items() if kind[key])
    return f"{kind_name(kind)}: {percent(kind['recall'])} of {kind['sightings']} found, {fates}"


def _label_text(kind: Record) -> str:
    became = sorted(kind["became"].items(), key=lambda item: -item[1])[:2]
    return f"{kind['kind']}: {percent(kind['recall'])} of {kind['sightings']} found, " + ", ".join(
        f"{count} became {name}" for name, count in became
    )
