"""A rate with its exact 95 % interval (Clopper and Pearson 1934)."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

LEVEL = 0.95
BISECTIONS = 60


def interval(count: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Ends of the exact interval for ``count`` of ``trials``.

    Raises:
        ValueError: no trials, or a count that does not fit them.
    """
    if trials < 1 or not 0 <= count <= trials:
        raise ValueError(f"{count} of {trials} is no rate; needed is a count from 0 to a number of trials from 1")
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _root(lambda p: 1 - _at_most(count - 1, trials, p) - tail)
    high = 1.0 if count == trials else _root(lambda p: tail - _at_most(count, trials, p))
    return low, high


def told(count: int, trials: int) -> str:
    """``0 of 20 (95 % interval 0 % to 16.8 %)``."""
    low, high = interval(count, trials)
    return f"{count} of {trials} (95 % interval {100 * low:.1f} % to {100 * high:.1f} %)"


def _at_most(count: int, trials: int, p: float) -> float:
    return sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count + 1))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of a probability is 0."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
