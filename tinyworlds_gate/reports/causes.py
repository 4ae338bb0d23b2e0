"""Group problems by cause: a problem whose reason quotes another's follows from it (pure)."""

from __future__ import annotations

from collections.abc import Sequence

SHORTEST = 20
"""Shorter reasons (`S4 reason`, `it failed`) may occur inside another one by chance."""

Problem = tuple[str, str]


def causes_first(problems: Sequence[Problem]) -> list[tuple[Problem, list[str]]]:
    """Return each cause, an (ID, reason) pair, with the IDs whose reason equals or quotes its reason, in input order.

    A missing report quotes the verdict of the evidence that it lacks; ungrouped, one problem would appear three times.
    """
    causes: list[tuple[Problem, list[str]]] = []
    problems = list(dict.fromkeys(problems))
    for id, reason in problems:
        quoted = [one for one in problems if one[1] != reason and len(one[1]) >= SHORTEST and one[1] in reason]
        known = [entry for entry in causes if entry[0][1] == reason and entry[0][0] != id]
        if not quoted and not known:
            causes.append(((id, reason), []))
    for id, reason in problems:
        for (cause, known_reason), followers in causes:
            same = known_reason == reason or (len(known_reason) >= SHORTEST and known_reason in reason)
            if same and id != cause and id not in followers:
                followers.append(id)
                break
    return causes


def causes_text(problems: Sequence[Problem], most: int) -> str:
    """Return up to ``most`` causes in one line: `L4: why (L10, H4 follow from it); S4: why; and 2 more`."""
    causes = causes_first(problems)
    lines = [
        f"{id}: {reason}" + (f" ({', '.join(after)} follow{'s' if len(after) == 1 else ''} from it)" if after else "")
        for (id, reason), after in causes[:most]
    ]
    return "; ".join(lines) + (f"; and {len(causes) - most} more" if len(causes) > most else "")
