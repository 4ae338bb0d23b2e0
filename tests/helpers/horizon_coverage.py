"""How often the 95 % intervals of `tinyworlds-gate horizon` and `policies` hold the truth, by simulation.

    python -m tests.helpers.horizon_coverage

Horizon: the error of a model grows over 64 steps and crosses that of a prediction at a known step, where both vary from
episode to episode together and from step to step alone. Policies: true returns of eight policies with a known rank
correlation in the limit of many policies, and noise between starts.
"""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.horizon.crossing import Curve, usable_horizon
from tinyworlds_gate.policies.ranking import rank_policies

STEPS, TRIALS = 64, 200
CROSSES = 20.5


def horizon_trial(rng: np.random.Generator, episodes: int, steep: float) -> bool:
    """Whether the interval holds the step; ``steep`` is by how much the ratio of the errors grows in a step."""
    steps = np.arange(1, STEPS + 1)
    hard = rng.lognormal(0, 0.6, (episodes, 1)) * steps**0.5
    model = hard * np.exp(steep * (steps - CROSSES)) * rng.lognormal(0, 0.3, (episodes, STEPS))
    reference = hard * rng.lognormal(0, 0.3, (episodes, STEPS))
    found = usable_horizon(
        Curve.mean(model),
        {"reference": Curve.mean(reference)},
        np.arange(episodes),
        higher=False,
        judged=np.ones(STEPS, bool),
    )
    truth = int(np.ceil(CROSSES))
    low, high = (STEPS + 1 if one is None else one for one in (found.low, found.high))
    return low <= truth <= high


def policies_trial(rng: np.random.Generator, starts: int, related: float) -> tuple[float, float]:
    """Return the ends of the interval; ``related`` is the correlation of the two sides' true returns."""
    game = rng.normal(0, 1, 8)
    model = related * game + np.sqrt(1 - related**2) * rng.normal(0, 1, 8)
    noise = [rng.normal(0, 1, (8, starts)) for _ in range(2)]
    found = rank_policies(
        model[:, None] + noise[0], game[:, None] + noise[1], np.arange(starts), int(rng.integers(2**31))
    )
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def spearman_of(related: float) -> float:
    """Return Spearman's correlation of normal values with this (Pearson) correlation."""
    return float(6 / np.pi * np.arcsin(related / 2))


def main() -> None:
    """Print the share of intervals that hold the truth."""
    for episodes in (12, 24, 64):
        for steep in (0.01, 0.05):
            rng = np.random.default_rng(0)
            held = np.mean([horizon_trial(rng, episodes, steep) for _ in range(TRIALS)])
            print(f"horizon, {episodes} episodes, ratio grows by {100 * steep:g} % a step: {100 * held:.0f} %")
    for starts in (16, 32):
        for related in (0.0, 0.7, 0.95):
            rng, truth = np.random.default_rng(0), spearman_of(related)
            ends = [policies_trial(rng, starts, related) for _ in range(TRIALS // 4)]
            held = np.mean([low <= truth <= high for low, high in ends])
            print(f"policies, {starts} starts, Spearman {truth:.2f}: {100 * held:.0f} %")


if __name__ == "__main__":
    main()
