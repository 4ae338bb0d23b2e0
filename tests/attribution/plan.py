"""Draw faults from the catalogue."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.attribution.catalogue import CUDA_KINDS, KINDS, Kind


@dataclass(frozen=True)
class Planned:
    """One fault: its kind, and where and when it happens."""

    number: int
    kind: Kind
    stage: str
    rank: int
    moment: int


def kinds_for(device: str) -> tuple[Kind, ...]:
    """Return the kinds that can happen on a device (``cpu`` or ``cuda``)."""
    kinds = (*KINDS, *CUDA_KINDS) if device == "cuda" else KINDS
    return tuple(kind for kind in kinds if kind.device in ("any", device) and kind.needs())


def draw(count: int, seed: int, kinds: Sequence[Kind]) -> list[Planned]:
    """Draw ``count`` faults: every kind once in random order, then again; stage, rank and moment at random."""
    rng, plan = random.Random(seed), list[Planned]()
    while len(plan) < count:
        for kind in rng.sample(kinds, len(kinds))[: count - len(plan)]:
            plan.append(
                Planned(len(plan), kind, rng.choice(kind.stages), rng.choice(kind.ranks), rng.randint(*kind.moments))
            )
    return plan
