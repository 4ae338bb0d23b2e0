"""What every game has in common: one played episode, and the random numbers of its policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME

Seen = tuple[str, float, float]
"""Kind, x and y (the middle, in pixels) of an object that a frame shows."""


@dataclass(frozen=True)
class Played:
    """One episode: ``frames`` uint8 [T, H, W, 3], ``actions`` uint8 [T]; the last action is not taken."""

    frames: np.ndarray
    actions: np.ndarray
    objects: np.ndarray
    """Table ``OBJECT_IN_FRAME``; ``frame`` counts from the episode's first."""
    per_frame: dict[str, np.ndarray] = field(default_factory=dict)
    """Further arrays [T, …], by the name of their dataset."""


def policy_rng(seed: int, episode: int) -> np.random.Generator:
    """Return the random numbers of an episode: they depend on these two numbers only."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, episode], np.uint64)))


def emulator_seed(seed: int, episode: int) -> int:
    """Return a seed for an emulator that takes 31 bits, different for each episode of a file."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0] >> 1)


def objects_table(seen: Iterable[Iterable[Seen]]) -> np.ndarray:
    """Return the objects of successive frames as one table; in a frame they are sorted."""
    rows = [(number, *one) for number, objects in enumerate(seen) for one in sorted(objects)]
    return np.array(rows, OBJECT_IN_FRAME)
