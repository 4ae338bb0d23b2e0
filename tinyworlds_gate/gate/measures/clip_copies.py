"""Which clips show the same frames as another clip, whatever their episode labels say (pure).

Two frames are compared by the means of their cells. The same motion is the same to within a fifth of its own variance
over time, so that noise hides no copy, and a common still background makes none. Noise is spread over the frame: if a
few cells stand out, other things move over the same background, such as a level that scrolls by itself.

Axes: B clips, T frames, P context frames, H height, W width, D cell values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.clip_shifts import shifted_pairs
from tinyworlds_gate.gate.measures.clip_symmetries import augmented_pairs

MOST_CELLS = 18
"""Along the longer side."""
SAME_SHARE = 0.2
"""Of the variance over time: a smaller mean squared difference is no other motion."""
STILL = 1.0
"""Mean squared difference in levels of 255, of cells; smaller ones are rounding, unless clips differ less in motion."""
ROUNDED = 0.005
"""The same, above which ``SAME_SHARE`` of the usual variance must lie to replace ``STILL``."""
MOVING = 0.25
"""The same, above which ``SAME_SHARE`` of the variance must lie, so that clips are compared at different times."""
STANDS_OUT, TIMES_USUAL = 30.0, 8.0
"""A cell that differs by so many levels, and by so many times as much as others of the frame, shows another thing."""
FEW_CELLS = 0.05
"""Share of the cells, those that differ most, that are not among the others."""


@dataclass(frozen=True)
class ClipCopies:
    """``copy_of`` [B]: the first clip that a clip repeats, or itself. ``episodes`` [B]: one label for clips that share
    their future or, at another time, half of their frames, otherwise as given. A common start makes no copy."""

    copy_of: np.ndarray
    episodes: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """The clips that repeat no earlier one, ascending."""
        return np.flatnonzero(self.copy_of == np.arange(len(self.copy_of)))


def find_copies(context_BPHWC: np.ndarray, true_BSHWC: np.ndarray, episodes_B: np.ndarray) -> ClipCopies:
    """Compare every clip with those before it.

    Args:
        context_BPHWC: uint8.
        true_BSHWC: uint8.
        episodes_B: the labels, int.
    """
    context = context_BPHWC.shape[1]
    frames_BTD = np.concatenate([_cells(context_BPHWC), _cells(true_BSHWC)], axis=1)
    height, width = (-(-size // _side(*context_BPHWC.shape[2:4])) for size in context_BPHWC.shape[2:4])
    shown_BTYXC = frames_BTD.reshape(*frames_BTD.shape[:2], height, width, -1).copy()
    frames_BTD -= frames_BTD.mean(axis=(0, 1))
    if _Part(frames_BTD, np.arange(context, frames_BTD.shape[1])).floor < STILL:
        frames_BTD -= frames_BTD.mean(axis=-1, keepdims=True)  # so that brighter copies are found by so small a floor
    squares_BT = np.square(frames_BTD).mean(axis=-1)
    count, length, values = frames_BTD.shape
    true = _Part(frames_BTD, np.arange(context, length))
    lagged = [_Part(frames_BTD, np.arange(length - lag), lag) for lag in range(1, length // 2 + 1)]
    copy_of, episodes = np.arange(count), episodes_B.copy()
    for clip in range(1, count):
        products = np.tensordot(frames_BTD[clip], frames_BTD[:clip], axes=(1, 2)) / values
        off_TBT = squares_BT[clip][:, None, None] + squares_BT[None, :clip] - 2 * products
        repeated_B = true.same(off_TBT, shown_BTYXC, clip)
        if repeated_B.any():
            copy_of[clip] = copy_of[np.flatnonzero(repeated_B)[0]]
        shared_B = np.any([repeated_B, *(part.same(off_TBT, shown_BTYXC, clip) for part in lagged)], axis=0)
        episodes[np.isin(episodes, episodes[:clip][shared_B])] = episodes[clip]
    whole = np.concatenate([context_BPHWC, true_BSHWC], axis=1)
    for first, later in (*augmented_pairs(whole), *shifted_pairs(whole, episodes)):
        episodes[episodes == episodes[first]] = episodes[later]
    return ClipCopies(copy_of, episodes)


class _Part:
    """Frames ``early`` of one clip, which are compared with those ``lag`` frames later of another."""

    def __init__(self, frames_BTD: np.ndarray, early: np.ndarray, lag: int = 0) -> None:
        self.early, self.late = early, early + lag
        self.least_B = [
            SAME_SHARE * frames_BTD[:, one[0] : one[-1] + 1].var(axis=1).mean(axis=-1)
            for one in (self.early, self.late)
        ]
        self.lag = lag
        typical = float(np.median(self.least_B[0]))
        self.floor = min(STILL, typical) if typical > ROUNDED else STILL

    def same(self, off_TBT: np.ndarray, shown_BTYXC: np.ndarray, clip: int) -> np.ndarray:
        """Return which earlier clips show the same as this one; ``off_TBT`` are the differences of their frames."""
        found = np.zeros(off_TBT.shape[1], bool)
        for own, other in ((0, 1), (1, 0)) if self.lag else ((0, 0),):
            rows = (self.early, self.late)
            off_B = off_TBT[rows[own], :, rows[other]].mean(axis=0)
            least_B = np.minimum(self.least_B[own][clip], self.least_B[other][:clip])
            # Still frames are the same only in the same place: other clips may be as still.
            most_B = np.where(least_B > MOVING, least_B, -1.0) if self.lag else np.maximum(least_B, self.floor)
            for one in np.flatnonzero(off_B <= most_B):
                found[one] |= not _other_things(shown_BTYXC[clip, rows[own]], shown_BTYXC[one, rows[other]])
        return found


def _other_things(own_TYXC: np.ndarray, other_TYXC: np.ndarray) -> bool:
    """Return whether few cells stand out in half of the frames, at any gain and brightness of a frame.

    A value that the other clip shows in a cell beside does not stand out, so that blur, compression and a shift by a
    pixel make no other thing.
    """
    axes = (1, 2, 3)
    own, other = (one - one.mean(axis=axes, keepdims=True) for one in (own_TYXC, other_TYXC))
    squares = np.square(other).sum(axis=axes, keepdims=True)
    other *= np.maximum((own * other).sum(axis=axes, keepdims=True) / np.maximum(squares, 1e-6), 0.0)
    off_TD = np.abs(own - other).reshape(len(own), -1)
    usual = off_TD.shape[1] - max(1, round(FEW_CELLS * off_TD.shape[1]))
    usual_T = np.sqrt(np.square(np.partition(off_TD, usual, axis=1)[:, :usual]).mean(axis=1))
    least_T = np.maximum(STANDS_OUT, TIMES_USUAL * usual_T)
    if (off_TD.max(axis=1) >= least_T).mean() < 0.5:
        return False
    return bool((np.maximum(_outside(own, other), _outside(other, own)) >= least_T).mean() >= 0.5)


def _outside(own_TYXC: np.ndarray, other_TYXC: np.ndarray) -> np.ndarray:
    """Return by how much a cell of each frame [T] leaves the values of the other's cells there and beside, at most."""
    low, high = _around(other_TYXC, np.minimum), _around(other_TYXC, np.maximum)
    return np.maximum(low - own_TYXC, own_TYXC - high).reshape(len(own_TYXC), -1).max(axis=1)


def _around(cells_TYXC: np.ndarray, least: np.ufunc) -> np.ndarray:
    """Return the least, or the most, of each cell and those around it."""
    for axis in (1, 2):
        cells = np.moveaxis(cells_TYXC, axis, 0)
        found = cells.copy()
        least(found[1:], cells[:-1], out=found[1:])
        least(found[:-1], cells[1:], out=found[:-1])
        cells_TYXC = np.moveaxis(found, 0, axis)
    return cells_TYXC


def _side(height: int, width: int) -> int:
    return -(-max(height, width) // MOST_CELLS)


def _cells(frames_BTHWC: np.ndarray) -> np.ndarray:
    """Return the means of the cells of frames, float32 ``[B, T, D]``."""
    height, width = frames_BTHWC.shape[2:4]
    rows, columns = (np.arange(0, size, _side(height, width)) for size in (height, width))
    clips = []
    for clip in frames_BTHWC:
        sums = np.add.reduceat(np.add.reduceat(clip.astype(np.float32), rows, axis=1), columns, axis=2)
        sizes = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None]
        clips.append((sums / sizes[..., None]).reshape(len(clip), -1))
    return np.stack(clips)
