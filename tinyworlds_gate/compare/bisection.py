"""The place at which a condition begins to hold."""

from __future__ import annotations

from collections.abc import Callable

STEPS = 80


def bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return where ``holds`` begins to be true between ``low`` and ``high``; ``high`` if it never is.

    Values above 1 are halved geometrically, so that few steps are enough for large ranges.
    """
    if holds(low):
        return low
    for _ in range(STEPS):
        middle = (max(low, 1.0) * high) ** 0.5 if high > 4 and max(low, 1.0) < high else (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
