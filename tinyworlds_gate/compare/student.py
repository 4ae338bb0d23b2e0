"""Student's t distribution for whole degrees of freedom (finite sums: Abramowitz and Stegun 26.7.3 and 26.7.4)."""

from __future__ import annotations

import math

from tinyworlds_gate.compare.bisection import bisect

MOST_FREEDOM = 200
"""From here on the distribution is taken as that of this many degrees of freedom."""
LARGEST_T = 1e6


def two_sided_p(t: float, freedom: float) -> float:
    """Return the probability of a larger absolute value; degrees of freedom are rounded down, to at least 1."""
    count = max(1, min(MOST_FREEDOM, math.floor(freedom)))
    angle = math.atan(abs(t) / math.sqrt(count))
    cosine, sine = math.cos(angle), math.sin(angle)
    square, total = cosine * cosine, 0.0
    if count % 2:
        term = cosine
        for number in range(1, count - 1, 2):
            total += term
            term *= square * (number + 1) / (number + 2)
        inside = 2 / math.pi * (angle + sine * total)
    else:
        term = 1.0
        for number in range(0, count - 1, 2):
            total += term
            term *= square * (number + 1) / (number + 2)
        inside = sine * total
    return min(1.0, max(0.0, 1.0 - inside))


def two_sided_quantile(level: float, freedom: float) -> float:
    """Return the t beyond which ``level`` of the probability lies, both sides together."""
    return bisect(lambda t: two_sided_p(t, freedom) <= level, 0.0, LARGEST_T)
