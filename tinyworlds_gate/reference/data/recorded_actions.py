"""Rules for actions and episodes that other programs recorded (pure)."""

from __future__ import annotations

import numpy as np

MOST_ACTION = 255
"""Actions are stored in a byte."""


def actions_problem(actions: np.ndarray) -> str | None:
    """Return what is wrong with actions [N], for a sentence; None where all are whole numbers from 0 to 255."""
    if actions.dtype.kind not in "iu":
        return f"has type {actions.dtype}; whole numbers from 0 to {MOST_ACTION} are needed"
    bad = np.flatnonzero((actions < 0) | (actions > MOST_ACTION))
    if len(bad):
        return f"has {actions[bad[0]]} at frame {bad[0]}; whole numbers from 0 to {MOST_ACTION} are needed"
    return None


def episodes_problem(starts: np.ndarray, lengths: np.ndarray, count: int) -> str | None:
    """Return why first frames [E] and lengths [E] do not cover ``count`` frames once each; None where they do."""
    if starts.shape != lengths.shape or starts.ndim != 1 or not len(starts):
        return f"have shapes {list(starts.shape)} and {list(lengths.shape)}; one entry each for every episode is needed"
    for name, values, least in (("episode_starts", starts, 0), ("episode_lengths", lengths, 1)):
        bad = np.flatnonzero((values < least) | (values > count))
        if len(bad):
            return f"give episode {bad[0]} the value {values[bad[0]]} in `{name}`; {least} to {count} are possible"
    begin = starts.astype(np.int64)
    end = begin + lengths.astype(np.int64)
    if begin[0] != 0:
        return f"begin at frame {begin[0]}: the frames 0 to {begin[0] - 1} are in no episode"
    wrong = np.flatnonzero(begin[1:] != end[:-1])
    if len(wrong):
        first = int(wrong[0])
        if begin[first + 1] < end[first]:
            return (
                f"overlap: episode {first} has the frames {begin[first]} to {end[first] - 1}, and episode {first + 1} "
                f"begins at frame {begin[first + 1]}"
            )
        return f"leave a gap: the frames {end[first]} to {begin[first + 1] - 1} are in no episode"
    if end[-1] < count:
        return f"leave a gap: the frames {end[-1]} to {count - 1} are in no episode"
    if end[-1] > count:
        return f"end at frame {end[-1] - 1}, but the last frame is {count - 1}"
    return None
