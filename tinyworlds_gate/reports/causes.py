"""Which of several problems are causes of their own, and which only repeat another's reason (pure)."""

from __future__ import annotations

from collections.abc import Sequence

SHORTEST = 20
"""A shorter reason (`S4 reason`, `it failed`) may stand inside another one by chance."""

Problem = tuple[str, str]


def causes_first(problems: Sequence[Problem]) -> list[tuple[Problem, list[str]]]:
    """Group (ID, reason) pairs: each cause with the IDs whose reason tells the same or quotes it, in the given order.

    A missing report quotes the verdict of the evidence that it lacks, so without this a reader meets one problem
    three times.
    """
    causes: list[tuple[Problem, list[str]]] = []
    problems = list(dict.fromkeys(problems))
    for id, reason in problems:
        quoted = [one for one in problems if one[1] != reason and len(one[1]) >= SHORTEST and one[1] in reason]
        known = [entry for entry in causes if entry[0][1] == reason and entry[0][0] != id]
        if not quoted and not known:
            causes.append(((id, reason), []))
    for id, reason in problems:
        for (cause, told), followers in causes:
            same = told == reason or (len(told) >= SHORTEST and told in reason)
            if same and id != cause and id not in followers:
                followers.append(id)
                break
    return causes


def told(problems: Sequence[Problem], most: int) -> str:
    """`L4: why (L10, H4 follow from it); S4: why; and 2 more` in one line."""
    causes = causes_first(problems)
    lines = [
        f"{id}: {reason}" + (f" ({', '.join(after)} follow{'s' if len(after) == 1 else ''} from it)" if after else "")
        for (id, reason), after in causes[:most]
    ]
    return "; ".join(lines) + (f"; and {len(causes) - most} more" if len(causes) > most else "")
