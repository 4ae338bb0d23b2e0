"""How much a measure differs between seeds of one recipe: from several seeds a side, else as measured on `smoke`.

The difference between two seeds on the same clips has two parts: one that stays with any number of clips, and one that
differs from clip to clip. The interval over episodes has the second part. The stated spread of `smoke` is therefore the
first part alone. Of few compared seeds the two cannot be separated: both are taken, which errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.compare.measures import Measure, Side

LEAST_FREEDOM = 2
"""Degrees of freedom from which on the compared seeds themselves give the spread."""


@dataclass(frozen=True)
class Spread:
    """Standard deviation between seeds, on the scale of the measure, and its degrees of freedom."""

    deviation: float
    freedom: float
    origin: str


OF_SMOKE: Mapping[str, tuple[float, int]] = {
    "error": (0.1, 25),
    "skill": (0.055, 6),
    "recall": (0.3, 6),
    "precision": (0.45, 6),
    "control": (0.6, 6),
    "kind": (0.6, 6),
}
"""Measure → standard deviation between seeds of the profile `smoke` and its degrees of freedom: 7 seeds, the error with
20 older ones as well. docs/compare.md has the command. One kind of objects is taken to differ twice as much as all."""


def default_spread(key: str) -> Spread:
    """Return the spread of `smoke`."""
    return Spread(*OF_SMOKE[key], "the spread of seeds of the profile smoke")


def spread_of(measure: Measure, a: Side, b: Side, key: str, given: Mapping[str, Spread] | None = None) -> Spread:
    """Return the spread between seeds: of the compared ones where there are enough, else ``given``, else that of smoke.

    ``key`` is that of the measure, or ``kind``.
    """
    freedom = len(a.cards) + len(b.cards) - 2
    if freedom >= LEAST_FREEDOM:
        squares = sum(float(np.square(one - one.mean()).sum()) for one in (a.whole(measure), b.whole(measure)))
        seeds = f"{len(a.cards)} and {len(b.cards)} compared seeds"
        return Spread((squares / freedom) ** 0.5, freedom, f"the spread of the {seeds}")
    return (given or {}).get(key) or default_spread(key)
