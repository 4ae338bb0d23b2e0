"""Train and held-out sets are split by episode, never by overlapping windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.errors import DataError


@dataclass(frozen=True)
class EpisodeSplit:
    """Episode ids of either side, ascending; no id stands on both."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_episodes(episode: np.ndarray, held_out_fraction: float, seed: int) -> EpisodeSplit:
    """Split the ids in ``episode`` [N] at random; the same arguments always give the same split.

    ``held_out_fraction`` of the episodes (rounded, at least one, never all) is held out; 1 means a file of held-out
    frames alone, which nobody trains on. Raises ``DataError`` when the fraction does not lie between 0 and 1, or when
    there is only one episode to split.
    """
    if held_out_fraction == 1.0:
        return EpisodeSplit(train=(), held_out=tuple(int(i) for i in np.unique(episode)))
    if not 0.0 < held_out_fraction < 1.0:
        raise DataError(
            f"held_out_fraction: {held_out_fraction} is not allowed; it must lie between 0 and 1 (fix: 0.1)"
        )
    ids = np.unique(episode)
    if len(ids) < 2:
        raise DataError(
            f"the frames form {len(ids)} episode; at least 2 are needed to hold one out; "
            "fix: use more frames, or shorter episodes (`--episode-length`)"
        )
    count = int(np.clip(round(len(ids) * held_out_fraction), 1, len(ids) - 1))
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(ids)
    return EpisodeSplit(
        train=tuple(sorted(int(i) for i in order[count:])), held_out=tuple(sorted(int(i) for i in order[:count]))
    )
