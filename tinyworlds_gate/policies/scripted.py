"""What a game needs so that policies can be ranked: scripted policies, and a return that is read from frames.

Policies see frames only, those of the game or those that a model generates. The same reader reads the return on both
sides. The game's own score is the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Policy = Callable[[np.ndarray, int], int]
"""The last two frames, uint8 [2, H, W, 3], and the number of the step from 0 → an action."""


@dataclass(frozen=True)
class PolicyGame:
    """A game with its policies, by name."""

    name: str
    policies: Mapping[str, Policy]
    read_return: Callable[[np.ndarray], float]
    """Frames uint8 [T, H, W, 3], from the last context frame on → the return."""
    read_meaning: str
    """What `read_return` reads, a phrase."""
    score_meaning: str
    """What the game's own score counts, a phrase."""
