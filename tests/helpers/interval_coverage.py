"""How often the 95 % interval of the gate misses the truth, by simulation.

`python -m tests.helpers.interval_coverage` prints the table of docs/gate.md (a minute on one core).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinyworlds_gate.gate.measures.intervals import mean_interval, ratio_interval

BETWEEN, WITHIN = 0.45, 0.8
"""Coefficients of variation of a smoke model's clip errors: between episodes, and within one."""
DRAWS = {5: 13, 10: 7, 20: 4, 64: 4}
"""Episodes → clips of each."""
SIMULATIONS = 10_000
PERCENTILES = 400
"""Resamples of the percentile bootstrap, which is only compared."""

Interval = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]


def misses(
    shape: str, episodes: int, what: str, interval: Interval, simulations: int = SIMULATIONS
) -> tuple[float, float]:
    """Return the shares of simulations in which the truth (1) lies below the interval and above it.

    Args:
        shape: distribution of the errors, `gamma` or `lognormal`.
        episodes: number of episodes; `DRAWS` has the clips of each.
        what: `error` (a mean over clips) or `skill` (a ratio of two sums over the same clips).
        interval: returns the interval of Σnumerator / Σdenominator, by clip and episode.
        simulations: number of data sets.
    """
    rng, clips = np.random.default_rng(episodes), DRAWS[episodes]
    index = np.repeat(np.arange(episodes), clips)
    below = above = 0
    for _ in range(simulations):
        level = _positive(rng, shape, BETWEEN, episodes)[index]
        errors = level * _positive(rng, shape, WITHIN, len(index))
        against = level * _positive(rng, shape, WITHIN, len(index)) if what == "skill" else np.ones(len(index))
        low, high = interval(errors, against, index)
        below, above = below + (low > 1), above + (high < 1)
    return below / simulations, above / simulations


def product(errors: np.ndarray, against: np.ndarray, episodes: np.ndarray) -> tuple[float, float]:
    """Return the interval that the gate uses."""
    if (against == 1).all():
        return mean_interval(errors, episodes)
    return ratio_interval(errors, against, episodes)


def percentile(errors: np.ndarray, against: np.ndarray, episodes: np.ndarray) -> tuple[float, float]:
    """Return the percentile bootstrap over episodes, the gate's interval before."""
    sums, others = np.bincount(episodes, errors), np.bincount(episodes, against)
    draws = np.random.default_rng(0).integers(0, len(sums), (PERCENTILES, len(sums)))
    low, high = np.quantile(sums[draws].sum(axis=1) / others[draws].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _positive(rng: np.random.Generator, shape: str, variation: float, size: int) -> np.ndarray:
    """Return values of mean 1 and this coefficient of variation."""
    if shape == "gamma":
        return rng.gamma(variation**-2, variation**2, size)
    spread = np.sqrt(np.log1p(variation**2))
    return rng.lognormal(-(spread**2) / 2, spread, size)


def table() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| errors | number | episodes | below | above | percentile bootstrap: below | above |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for shape in ("gamma", "lognormal"):
        for what in ("error", "skill"):
            for episodes in DRAWS:
                ours = misses(shape, episodes, what, product)
                theirs = misses(shape, episodes, what, percentile, SIMULATIONS // 5)
                shares = " | ".join(f"{100 * one:.1f} %" for one in (*ours, *theirs))
                yield f"| {shape} | {what} | {episodes} | {shares} |"


if __name__ == "__main__":
    print("\n".join(table()))
