"""From the moments of a history to rates: pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW = 50


@dataclass(frozen=True)
class Rate:
    """Updates per second over windows of equal length: the median window, the slowest and the fastest."""

    median: float
    slowest: float
    fastest: float
    updates: int


def rate_of(moments: Sequence[float], skip: int) -> Rate:
    """The rate after the first ``skip`` updates, from the second at which each update was done.

    Raises ValueError when fewer than two moments are left.
    """
    left = moments[skip:]
    if len(left) < 2:
        raise ValueError(f"{len(moments)} updates less {skip} of warm-up leave nothing to time")
    width = min(WINDOW, len(left) - 1)
    windows = [width / max(left[start + width] - left[start], 1e-9) for start in range(0, len(left) - width, width)]
    return Rate(statistics.median(windows), min(windows), max(windows), len(left) - 1)
