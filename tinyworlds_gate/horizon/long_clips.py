"""Held-out clips for long rollouts: as many steps as are wanted, or as the episodes allow.

Axes: B clips, T = P + S frames, P context frames, S generated frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clips import starts_in_episodes
from tinyworlds_gate.reference.data.split import draw_clips

LEAST_EPISODES = 5
"""Episodes that must be long enough; where fewer are, the rollouts are shorter."""


@dataclass(frozen=True)
class LongClips:
    """Where the clips start, int64 [B], their episodes, and the number of steps after ``context`` frames."""

    starts: np.ndarray
    episodes: np.ndarray
    context: int
    steps: int
    note: str | None
    """Why there are fewer steps than were wanted; None: there are as many."""


def long_clips(
    episode: np.ndarray, allowed: Iterable[int], *, context: int, steps: int, count: int, seed: int
) -> LongClips:
    """Choose clips, spread over the allowed episodes.

    Args:
        episode: int [N], the episode of each frame.
        allowed: the episodes to choose from.
        context: true frames that are given.
        steps: wanted frames after them.
        count: clips, at most.
        seed: of the choice.

    Raises:
        DataError: no episode is long enough for one step.
    """
    ids = np.fromiter(allowed, np.int64)
    lengths = np.sort([int((episode == one).sum()) for one in ids])[::-1]
    needed = min(LEAST_EPISODES, len(ids))
    possible = int(lengths[needed - 1]) - context if needed else 0
    if possible < 1:
        raise DataError(
            f"the longest episodes have {int(lengths[0]) if len(lengths) else 0} frames; {context} context frames and "
            f"at least one step need {context + 1} frames in {needed or 1} episodes; make longer episodes "
            "(`tinyworlds-gate data make … --episode-length 125`)"
        )
    taken = min(steps, possible)
    note = None
    if taken < steps:
        note = (
            f"{taken} steps instead of {steps}: only {int((lengths >= context + steps).sum())} of {len(ids)} episodes "
            f"have the {context + steps} frames that {steps} steps need ({needed} episodes must be long enough)"
        )
    starts = starts_in_episodes(episode, context + taken, tuple(int(one) for one in ids))
    chosen = draw_clips(starts, episode[starts], min(count, len(starts)), seed)
    return LongClips(chosen, episode[chosen], context, taken, note)
