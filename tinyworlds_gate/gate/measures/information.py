"""How many codes are in use, and how much a code tells of what happened (pure; all information in nats).

Axes: B clips, S transitions into generated frames, K codes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import jackknife_interval

Record = dict[str, Any]

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
    return len(used_codes(share))


def used_codes(share: np.ndarray) -> np.ndarray:
    """Return the codes that count as used, ascending."""
    return np.flatnonzero(share >= used_share(len(share)))


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
    return _normalised(joint)


def _normalised(counts_KL: np.ndarray) -> float:
    """Return I(code; action) / H(action) of joint counts; 0 where only one action occurs."""
    joint = counts_KL / counts_KL.sum()
    entropy = entropy_nats(joint.sum(axis=0))
    information = entropy_nats(joint.sum(axis=1)) + entropy - entropy_nats(joint.ravel())
    return min(max(information / entropy, 0.0), 1.0) if entropy > 0 else 0.0


LEAST_OTHER = 30
"""Transitions with another than the commonest true action from which the codes are compared with the actions."""
LEAST_EPISODES = 5
PERMUTATIONS = 200


def action_record(codes_BS: np.ndarray, size: int, actions_BS: np.ndarray | None, episodes_B: np.ndarray) -> Record:
    """Return how many bits a frame the codes have, and how far they follow the true actions.

    ``information`` is I(code; action) / H(action). ``chance`` and ``chance_high`` are its mean and 99th percentile when
    the actions of whole clips are permuted. ``excess`` is ``information`` − ``chance``, with its 95 % interval over
    episodes. ``no_occasion`` says why codes and actions are not compared.

    Args:
        codes_BS: the code of the transition into each generated frame, from 0 to ``size`` − 1.
        actions_BS: the true actions of these transitions; None: the frames file has none.
        episodes_B: the episode of each clip.
    """
    record = {"bits": entropy_nats(shares(codes_BS, size)) / math.log(2), "most_bits": math.log2(size)}
    if actions_BS is None or actions_BS.shape != codes_BS.shape:
        return record | {"no_occasion": "the frames file has no true `actions`"}
    _, actions = np.unique(actions_BS, return_inverse=True)
    actions = actions.reshape(codes_BS.shape)
    counts, episodes = np.bincount(actions.ravel()), len(np.unique(episodes_B))
    record |= {"true_actions": int((counts >= used_share(len(counts)) * counts.sum()).sum())}
    if (other := int(counts.sum() - counts.max())) < LEAST_OTHER or episodes < LEAST_EPISODES:
        what = f"{other} transitions in {episodes} episodes have another than the commonest true action"
        return record | {"no_occasion": f"{what}; at least {LEAST_OTHER} in {LEAST_EPISODES} are needed"}
    _, codes = np.unique(codes_BS, return_inverse=True)
    codes = codes.reshape(codes_BS.shape)
    _, index_B = np.unique(episodes_B, return_inverse=True)
    table_EKL = _joint_counts(index_B, codes, actions)
    whole_KL, rng = table_EKL.sum(axis=0), np.random.default_rng(0)
    information, by_chance = _normalised(whole_KL), []
    for _ in range(PERMUTATIONS):
        moved = np.roll(actions[rng.permutation(len(actions))], rng.integers(codes_BS.shape[1]), axis=1)
        by_chance.append(_normalised(_joint_counts(np.zeros_like(index_B), codes, moved)[0]))
    chance = float(np.mean(by_chance))
    left_out = [  # what chance gives grows as transitions become fewer
        _normalised(whole_KL - one_KL) - chance * whole_KL.sum() / max((whole_KL - one_KL).sum(), 1.0)
        for one_KL in table_EKL
    ]
    low, high = jackknife_interval(information - chance, np.array(left_out))
    return record | {
        "no_occasion": None,
        "true_bits": entropy_nats(shares_of_counts(counts)) / math.log(2),
        "information": information,
        "chance": chance,
        "chance_high": float(np.quantile(by_chance, 0.99)),
        "excess": information - chance,
        "excess_low": low,
        "excess_high": high,
    }


def _joint_counts(index_B: np.ndarray, codes_BS: np.ndarray, actions_BS: np.ndarray) -> np.ndarray:
    """Return how often each code meets each action in the clips of each index, float64 ``[E, K, L]``."""
    shape = (int(index_B.max()) + 1, int(codes_BS.max()) + 1, int(actions_BS.max()) + 1)
    cells = (index_B[:, None] * shape[1] + codes_BS) * shape[2] + actions_BS
    return np.bincount(cells.ravel(), minlength=math.prod(shape)).reshape(shape).astype(np.float64)


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
