"""Pong by its frames: where ball and paddle are, when the ball leaves, and eight policies.

A pixel is a mixture of the background and the three colours of ball, player and opponent, of which the shares are
solved. Places are in pixels of the emulator's field of 160 x 160.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyworlds_gate.policies.scripted import Policy, PolicyGame

NOTHING, UP, DOWN = range(3)
FIELD = 160
BACKGROUND = np.array((144.0, 72.0, 17.0))
COLOURS = np.array(((236.0, 236.0, 236.0), (92.0, 186.0, 92.0), (213.0, 130.0, 74.0)))
"""Of ball, player and opponent."""
UNMIX = np.linalg.inv(COLOURS - BACKGROUND)
SHOWN = 0.2
"""Share of a pixel that a ball covers at least somewhere; a true one of 64 px covers 0.3 or more."""
PADDLE_SHARE = 0.3
PLAYER_COLUMNS = (132, 152)
SCORED, CONCEDED = 12, 148
"""A ball left of the one has passed the opponent, right of the other the player."""
IN_PLAY = (30, 130)
"""Between these the ball is in play again."""
DEAD_BAND = 4.0
"""Pixels by which the ball may be off the paddle's middle."""


def find_ball(frame_HWC: np.ndarray) -> tuple[float, float] | None:
    """Return x and y of the ball's middle; None: there is none."""
    share = _shares(frame_HWC)[..., 0]
    row, column = np.unravel_index(int(share.argmax()), share.shape)
    if share[row, column] < SHOWN:
        return None
    top, left = max(0, int(row) - 2), max(0, int(column) - 2)
    near = share[top : int(row) + 3, left : int(column) + 3].clip(0)
    rows, columns = (np.arange(size) + 0.5 + first for size, first in zip(near.shape, (top, left), strict=True))
    x, y = (float(axis @ near.sum(axis=place) / near.sum()) for place, axis in ((0, columns), (1, rows)))
    return x * FIELD / share.shape[1], y * FIELD / share.shape[0]


def find_player(frame_HWC: np.ndarray) -> float | None:
    """Return y of the middle of the player's paddle; None: there is none."""
    size = frame_HWC.shape[1]
    first, last = (round(place * size / FIELD) for place in PLAYER_COLUMNS)
    share = _shares(frame_HWC[:, first:last])[..., 1]
    rows = np.where(share > PADDLE_SHARE, share, 0).sum(axis=1)
    if not rows.any():
        return None
    return float(rows @ (np.arange(len(rows)) + 0.5) / rows.sum() * FIELD / len(rows))


def read_points(frames_THWC: np.ndarray) -> float:
    """Return how often the ball left on the opponent's side, less how often on the player's.

    A ball counts once, until it is seen in the middle again. One that fades away inside the field is no point.
    """
    points, in_play = 0, True  # a ball that has left at the start is a point that the game has yet to count
    for frame in frames_THWC:
        ball = find_ball(frame)
        if ball is None:
            continue
        if IN_PLAY[0] <= ball[0] <= IN_PLAY[1]:
            in_play = True
        elif in_play and not SCORED <= ball[0] <= CONCEDED:
            points += 1 if ball[0] < SCORED else -1
            in_play = False
    return float(points)


def _shares(frame_HWC: np.ndarray) -> np.ndarray:
    """Return how much of each pixel is ball, player and opponent, float64 [H, W, 3]."""
    shares: np.ndarray = (frame_HWC - BACKGROUND) @ UNMIX
    return shares


def _follow(seen: np.ndarray, _step: int) -> int:
    ball, player = find_ball(seen[-1]), find_player(seen[-1])
    if ball is None or player is None or abs(ball[1] - player) <= DEAD_BAND:
        return NOTHING
    return UP if ball[1] < player else DOWN


def _flee(seen: np.ndarray, step: int) -> int:
    return {NOTHING: UP, UP: DOWN, DOWN: UP}[_follow(seen, step)]


def _follow_for(steps: int, of: int) -> Policy:
    def policy(seen: np.ndarray, step: int) -> int:
        return _follow(seen, step) if step % of < steps else NOTHING

    return policy


def _follow_from(share: float) -> Policy:
    """Follow the ball only where it is beyond this share of the way to the player."""

    def policy(seen: np.ndarray, step: int) -> int:
        ball = find_ball(seen[-1])
        return _follow(seen, step) if ball is not None and ball[0] > share * FIELD else NOTHING

    return policy


def _always(action: int) -> Callable[[np.ndarray, int], int]:
    return lambda _seen, _step: action


PONG = PolicyGame(
    name="pong",
    policies={
        "follow the ball": _follow,
        "follow in the last quarter": _follow_from(0.75),
        "follow in the last eighth": _follow_from(0.82),
        "follow in 1 of 3 steps": _follow_for(1, 3),
        "follow in 1 of 4 steps": _follow_for(1, 4),
        "follow in 1 of 6 steps": _follow_for(1, 6),
        "stay": _always(NOTHING),
        "flee from the ball": _flee,
    },
    read_return=read_points,
    read_meaning="points: balls that leave the frame on the opponent's side, less those on the player's",
    score_meaning="points of the player less those of the opponent, from the emulator's memory",
)
