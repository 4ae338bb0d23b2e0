"""Whether the context frames of a file already hold the frames that were to be predicted: a script cut clips wrongly.

Axes: N clips, C context frames, S true frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

import numpy as np

MOST_CLIPS = 64
"""Clips that are compared, evenly chosen."""
SAME = 0.25
"""Two frames are the same if they differ by at most this share of the change from frame to frame beside them."""
MANY, LEAST_FEW = 4, 2
"""So many repeated frames in a row are no chance in one clip; fewer, down to the second number, can be."""
SHARE_OF_MANY, SHARE_OF_FEW, SHARE_OF_ONE = 0.05, 0.5, 0.9
"""Share of the clips from which on such repetitions are no property of the game."""
PAUSES = 0.25
"""Share of the frames that repeat the one before in a game that pauses."""
LEAST_CLIPS = 2


def future_in_context(context: np.ndarray, true: np.ndarray) -> str | None:
    """Return how the true frames repeat the context, as a clause; None: they do not, or the game itself repeats.

    A game repeats itself if its context, or its true frames, show the same period.

    Args:
        context: uint8 [N, C, H, W, 3].
        true: uint8 [N, S, H, W, 3].
    """
    chosen = np.unique(np.linspace(0, len(true) - 1, min(MOST_CLIPS, len(true))).astype(int))
    clips = [_Clip(context[clip], true[clip]) for clip in chosen]
    clips = [one for one in clips if one.moves and not one.comes_back]
    for period in range(context.shape[1] + true.shape[1] - 1, 1, -1):
        repeated = [one.repeated(period) for one in clips]
        for least, share in ((MANY, SHARE_OF_MANY), (LEAST_FEW, SHARE_OF_FEW)):
            count = sum(frames >= least for frames in repeated)
            if count >= max(LEAST_CLIPS, share * len(clips)):
                frames, total = max(repeated), len(clips)
                return f"in {count} of {total} moving clips, {least} to {frames} true frames repeat context frames"
    first = [found for one in clips if (found := one.begins_with_last) is not None]
    pauses = np.mean([one.pauses for one in clips]) if clips else 0
    if sum(first) >= max(LEAST_CLIPS, SHARE_OF_ONE * len(first)) and pauses < PAUSES:
        return f"in {sum(first)} of {len(first)} moving clips, the first true frame is the last context frame"
    return None


class _Clip:
    """Which frames of a clip are the same; ``moves``: context and true frames change."""

    def __init__(self, context: np.ndarray, true: np.ndarray) -> None:
        self._context = len(context)
        frames = np.concatenate([context, true]).reshape(len(context) + len(true), -1).astype(np.int16)
        apart = np.zeros((len(frames), len(frames)))
        for row, one in enumerate(frames):
            for column in range(row):
                apart[row, column] = np.abs(one - frames[column]).mean()
        self._steps = np.array([0.0, *np.diagonal(apart, -1)])
        after = np.array([*self._steps[1:], 0.0])
        smaller = np.minimum(self._steps, after)
        self._same = apart <= SAME * np.where(smaller > 0, smaller, self._steps)[:, None]
        self._moving = self._steps > 0
        self.moves = bool(self._moving[self._context + 1 :].any() and self._moving[1 : self._context].any())

    def _compared(self, period: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which changing frames are that of a period earlier, and which of these are true and context."""
        rows = np.arange(period, len(self._steps))
        rows = rows[self._moving[rows]]
        return self._same[rows, rows - period], (rows >= self._context) & (rows - period < self._context)

    @property
    def comes_back(self) -> bool:
        """Whether the game has a period that the context, or the true frames, show by themselves."""
        found = (self._compared(period) for period in range(2, len(self._steps)))
        return any(same.all() and (~across).any() for same, across in found)

    def repeated(self, period: int) -> int:
        """Return how many changing true frames are the context frame a period earlier; 0 if one of them is not."""
        same, across = self._compared(period)
        return int(across.sum()) if same[across].all() else 0

    @property
    def begins_with_last(self) -> bool | None:
        """Whether the first true frame repeats the last context frame; None: the frames beside them do not change."""
        first = self._context
        moved = min(self._steps[first - 1], self._steps[first + 1]) if 2 <= first < len(self._steps) - 1 else 0.0
        return bool(self._steps[first] <= SAME * moved) if moved > 0 else None

    @property
    def pauses(self) -> float:
        """Share of the frames, but for the first true one, that repeat the one before."""
        return float((np.delete(self._steps[1:], self._context - 1) == 0).mean())
