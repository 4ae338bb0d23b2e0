"""Compare a recorded verdict with the one that its files give now (pure)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.verdict import GateVerdict
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS

SAME_NUMBER = 1e-6
"""Relative: the same measures on another processor."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
SHOWN = 3


def differences(
    recorded: Mapping[str, Any],
    again: GateVerdict,
    measures: GateMeasures | None,
    *,
    same_code: bool,
    other: Collection[str] = (),
) -> list[str]:
    """Return how a verdict of the journal differs from the one that its files give now, a clause each.

    Args:
        recorded: the `gate_verdict` event.
        same_code: whether the code that judged is the code that judges now; under another only the conditions and
            numbers that both know are compared.
        other: IDs of custom conditions that only one of the two has.
    """
    was = {str(one["id"]): str(one["verdict"]) for one in recorded["conditions"] if one["id"] not in other}
    now = {one.id: one.verdict for one in again.conditions if one.id not in other}
    listed = [[str(one["id"]), str(one["verdict"])] for one in recorded["conditions"] if one["id"] not in other]
    judged = [[one.id, one.verdict] for one in again.conditions if one.id not in other]
    if not same_code:
        known = {id for id in was.keys() & now.keys() if NOT_RUN not in (was[id], now[id])}
        listed, judged = ([one for one in pairs if one[0] in known] for pairs in (listed, judged))
    clauses = []
    if sorted(listed) != sorted(judged):
        clauses.append("conditions")
    if not other and recorded["verdict"] != (again.verdict if same_code else _worst(recorded["conditions"])):
        clauses.append("verdict")
    if clauses:
        return [f"now give another verdict: {again.sentence}"]
    found = _different_numbers(recorded.get("measures"), measures, same_code=same_code)
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return [f"give other numbers than the journal: {'; '.join(found[:SHOWN])}{more}"]
    if same_code and not other and measures is not None and not same_text(str(recorded["sentence"]), again.sentence):
        return [f"give another sentence than the journal: {again.sentence}"]
    return []


def _worst(conditions: Sequence[Mapping[str, Any]]) -> str:
    found = {str(one["verdict"]) for one in conditions}
    return INVALID if INVALID in found else FAIL if found - {PASS, NOT_RUN} else PASS


def _different_numbers(
    recorded: Mapping[str, Any] | None, measures: GateMeasures | None, *, same_code: bool
) -> list[str]:
    if recorded is None or measures is None:
        return []
    now = _as_journalled(measures.as_dict())
    keys = recorded.keys() | now.keys() if same_code else recorded.keys() & now.keys()
    return [
        f"{key} was {_shown(recorded.get(key))}, now {_shown(now.get(key))}"
        for key in sorted(keys)
        if not _same(recorded.get(key), now.get(key))
    ]


def _as_journalled(value: Any) -> Any:
    """Plain data as it comes back from a journal: no NaN, no tuples."""
    if isinstance(value, Mapping):
        return {str(key): _as_journalled(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_journalled(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, bool) or isinstance(now, bool) or was is None or now is None:
        return was is now
    if isinstance(was, int | float) and isinstance(now, int | float):
        return math.isclose(was, now, rel_tol=SAME_NUMBER, abs_tol=SAME_NUMBER**2)
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(_same, was, now))
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return was.keys() == now.keys() and all(_same(was[key], now[key]) for key in was)
    return bool(was == now)


def same_text(was: str, now: str) -> bool:
    """Return whether two sentences are the same, up to one unit in the last place of a decimal number."""
    if _NUMBER.sub("#", was) != _NUMBER.sub("#", now):
        return False
    return all(_same_shown(one, two) for one, two in zip(_NUMBER.findall(was), _NUMBER.findall(now), strict=True))


def _same_shown(was: str, now: str) -> bool:
    if was == now:
        return True
    places = len(was.partition(".")[2])
    return 0 < places == len(now.partition(".")[2]) and abs(float(was) - float(now)) <= 1.01 * 10**-places


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
