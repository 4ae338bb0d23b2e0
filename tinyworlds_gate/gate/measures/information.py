"""How many codes are in use, and how much a code tells of what happened (pure; all information in nats).

Axes: B clips, S transitions into generated frames, K codes.
"""

from __future__ import annotations

import math

import numpy as np

USED_SHARE = 0.02
"""An action code counts as used when at least this share of the transitions carries it, or half of its even share."""


def used_share(size: int) -> float:
    """Return the share of the transitions from which one of ``size`` codes counts as used."""
    return min(USED_SHARE, 0.5 / size)


NONE, LEFT, RIGHT, UP, DOWN = range(5)
NO_DISPLACEMENT = -1
"""A jump or a diagonal step, which no single move of a player makes; left out."""


def shares(codes: np.ndarray, size: int) -> np.ndarray:
    """The share ``[K]`` of each of ``size`` codes among int ``codes`` of any shape; zeros when there is none."""
    return shares_of_counts(np.bincount(codes.ravel(), minlength=size))


def shares_of_counts(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their sum, float64; zeros when nothing was counted."""
    counts = np.asarray(counts, np.float64)
    total = counts.sum()
    return counts / total if total > 0 else counts


def entropy_nats(share: np.ndarray) -> float:
    """The entropy of shares that sum to 1."""
    positive = share[share > 0]
    return float(-(positive * np.log(positive)).sum()) + 0.0


def codes_used(share: np.ndarray) -> int:
    """Codes at 2 % of the transitions or more (docs/gate.md), of many codes at half the even share."""
    return int((share >= used_share(len(share))).sum())


def normalised_information(codes: np.ndarray, truth: np.ndarray) -> float | None:
    """I(code; truth) / H(truth) from joint counts: 0 when codes tell nothing, 1 when they tell all.

    ``codes`` and ``truth`` are ints of one shape; where truth is negative it is unknown and left out. None when
    nothing is left or truth never varies. From few transitions the value is too high (by about
    (K - 1)(L - 1) / 2n nats of L true classes and n transitions).
    """
    known = truth.ravel() >= 0
    code, true = codes.ravel()[known], truth.ravel()[known]
    if not len(code):
        return None
    _, code = np.unique(code, return_inverse=True)
    _, true = np.unique(true, return_inverse=True)
    if not true.any():
        return None
    joint = np.zeros((code.max() + 1, true.max() + 1))
    np.add.at(joint, (code, true), 1.0)
    joint /= joint.sum()
    entropy = entropy_nats(joint.sum(axis=0))
    information = entropy_nats(joint.sum(axis=1)) + entropy - entropy_nats(joint.ravel())
    return min(max(information / entropy, 0.0), 1.0)


def displacements(positions_BT2: np.ndarray) -> np.ndarray:
    """What the player's tile did between neighbouring frames: ``[B, T-1]`` of none, left, right, up, down, or -1.

    Positions are (x, y), y downwards. A straight step of several tiles (a stride skips frames) counts by its direction.
    """
    steps = np.diff(positions_BT2.astype(np.int64), axis=1)
    x, y = steps[..., 0], steps[..., 1]
    found = np.full(x.shape, NO_DISPLACEMENT)
    for code, where in (
        (NONE, (x == 0) & (y == 0)),
        (LEFT, (x < 0) & (y == 0)),
        (RIGHT, (x > 0) & (y == 0)),
        (UP, (x == 0) & (y < 0)),
        (DOWN, (x == 0) & (y > 0)),
    ):
        found[where] = code
    return found


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio of frames in [0, 1]; infinite for a perfect prediction."""
    return math.inf if mse <= 0 else -10.0 * math.log10(mse)
