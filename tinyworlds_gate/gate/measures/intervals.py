"""95 % intervals over episodes: clips of one episode are not independent, episodes are.

Student's t over the jackknife values (the estimate with one episode left out), on a log scale where nothing is
negative. Johnson's correction (1978) lengthens the end towards which the episodes are skewed and never shortens the
other. docs/gate.md shows the simulated coverage.

Axes: B clips, E episodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

UNKNOWN = (math.nan, math.nan)
"""The interval of one episode, or of values that are no finite numbers."""

Z_975 = 1.959964
T_975 = {1: 12.7062, 2: 4.3027, 3: 3.1824}
"""Degrees of freedom → 97.5 % quantile of Student's t, where its expansion is inaccurate."""


def mean_interval(values_B: np.ndarray, episodes_B: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean over clips."""
    return ratio_interval(values_B, np.ones(len(values_B)), episodes_B)


def ratio_interval(numerator_B: np.ndarray, denominator_B: np.ndarray, episodes_B: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of Σnumerator / Σdenominator over clips; NaN at both ends where it is unknown."""
    _, index_B = np.unique(episodes_B, return_inverse=True)
    above_E, below_E = (np.bincount(index_B, weights=values) for values in (numerator_B, denominator_B))
    if len(above_E) < 2:
        return UNKNOWN
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = above_E.sum() / below_E.sum()
        left_out_E = (above_E.sum() - above_E) / (below_E.sum() - below_E)
    if not (math.isfinite(whole) and np.isfinite(left_out_E).all()):
        return UNKNOWN
    if not above_E.any():
        return 0.0, 0.0
    if np.min(numerator_B) < 0:
        return jackknife_interval(whole, left_out_E)
    if whole <= 0 or (left_out_E <= 0).any():
        return UNKNOWN
    low, high = jackknife_interval(math.log(whole), np.log(left_out_E))
    with np.errstate(over="ignore"):
        return min(float(np.exp(low)), whole), max(float(np.exp(high)), whole)


@dataclass(frozen=True)
class Jackknife:
    """An estimate from all episodes, with what leaving out one at a time says of it."""

    whole: float
    centre: float
    """Without its bias."""
    error: float
    """Standard error."""
    skewness: float
    """A sixth of the skewness of the mean."""

    def ends(self, t: float, more_error: float = 0.0) -> tuple[float, float]:
        """Return the interval of ``t`` standard errors; ``more_error``: a standard error of another origin."""
        longer = self.error * self.skewness * (1 + 2 * t**2)
        wide = t * (math.hypot(self.error, more_error) if more_error else self.error)
        low, high = self.centre - wide + min(longer, 0.0), self.centre + wide + max(longer, 0.0)
        return min(low, self.whole), max(high, self.whole)


def jackknife(whole: float, left_out_E: np.ndarray) -> Jackknife:
    """Return what the estimates with one episode left out say of that from all episodes."""
    count, mean = len(left_out_E), float(left_out_E.mean())
    deviations_E = mean - left_out_E
    size = float(np.abs(deviations_E).max())
    if size == 0:
        return Jackknife(whole, whole, 0.0, 0.0)
    deviations_E = deviations_E / size
    squares = float(np.square(deviations_E).sum())
    error = size * math.sqrt((count - 1) / count * squares)
    centre = count * whole - (count - 1) * mean
    return Jackknife(whole, centre, error, float((deviations_E**3).sum()) / (6 * squares**1.5))


def jackknife_interval(whole: float, left_out_E: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an estimate from all episodes and those with one episode left out."""
    return jackknife(whole, left_out_E).ends(student_t(len(left_out_E) - 1))


def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, to three decimals (Abramowitz and Stegun 26.7.5)."""
    if freedom in T_975:
        return T_975[freedom]
    z = Z_975
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
