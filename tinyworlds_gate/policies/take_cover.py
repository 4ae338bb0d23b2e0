"""Doom's take_cover by its frames: hits as a red screen, fireballs as bright spots, and eight policies."""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.policies.scripted import Policy, PolicyGame

NOTHING, LEFT, RIGHT = range(3)
HIT = 6.0
"""Levels by which red rises over the other colours when a fireball hits, or twice that in two steps; without one it
rises by less than 5 a step."""
BRIGHT = 60.0
"""Levels of green above the median that only fireballs have."""
NEAR = 0.012
"""Share of the frame that a fireball covers when it is about to arrive."""
RED, GREEN = 0, 1


def redness(frames_THWC: np.ndarray) -> np.ndarray:
    """Return by how many levels red exceeds the other colours in each frame, float64 [T]."""
    means = frames_THWC.mean(axis=(1, 2), dtype=np.float64)
    found: np.ndarray = means[:, RED] - means[:, 1:].mean(axis=1)
    return found


def read_hits(frames_THWC: np.ndarray) -> float:
    """Return the number of times that the screen turns red, negative; a rise over successive steps counts once."""
    rises = np.diff(redness(frames_THWC))
    hits, before, counted = 0, 0.0, False
    for rise in rises:
        counted = counted and rise > 0
        if not counted and (rise >= HIT or (rise > 0 and rise + before >= 2 * HIT)):
            hits, counted = hits + 1, True
        before = max(rise, 0.0)
    return -float(hits)


def find_fireball(frame_HWC: np.ndarray) -> tuple[float, float] | None:
    """Return how far right of the middle the fireballs are (-0.5 to 0.5), and the share of the frame that they cover.

    The bright spots are weighted by their column's number of bright pixels, so that the nearest fireball counts most.
    None: there is none.
    """
    green = frame_HWC[..., GREEN].astype(np.float64)
    bright = green - np.median(green) > BRIGHT
    columns = bright.sum(axis=0).astype(np.float64) ** 2
    if not columns.any():
        return None
    places = (np.arange(len(columns)) + 0.5) / len(columns) - 0.5
    return float(columns @ places / columns.sum()), float(bright.mean())


def _dodge(least: float) -> Policy:
    """Step away from fireballs that cover at least this share of the frame."""

    def policy(seen: np.ndarray, _step: int) -> int:
        ball = find_fireball(seen[-1])
        if ball is None or ball[1] < least:
            return NOTHING
        return LEFT if ball[0] > 0 else RIGHT

    return policy


def _meet(seen: np.ndarray, _step: int) -> int:
    ball = find_fireball(seen[-1])
    if ball is None or abs(ball[0]) < 0.02:
        return NOTHING
    return RIGHT if ball[0] > 0 else LEFT


def _to_and_fro(steps: int) -> Policy:
    return lambda _seen, step: LEFT if (step // steps) % 2 == 0 else RIGHT


def _always(action: int) -> Policy:
    return lambda _seen, _step: action


TAKE_COVER = PolicyGame(
    name="takecover",
    policies={
        "dodge": _dodge(NEAR),
        "stay": _always(NOTHING),
        "always left": _always(LEFT),
        "to and fro, 3 steps": _to_and_fro(3),
        "to and fro, 6 steps": _to_and_fro(6),
        "to and fro, 12 steps": _to_and_fro(12),
        "to and fro, 24 steps": _to_and_fro(24),
        "meet the fireball": _meet,
    },
    read_return=read_hits,
    read_meaning="hits: how often the screen turns red, negative",
    score_meaning="steps in which the player's health falls, negative",
)
