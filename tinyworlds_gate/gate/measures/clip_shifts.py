"""Which clips show another one rolled or cut elsewhere, as random crops of one recording do.

Axes: B clips, T frames, H height, W width, Y and X cells, C colours.
"""

from __future__ import annotations

import numpy as np

SIDE = 64
"""Cells along the longer side, at most."""
SAME_SHARE = 0.25
"""Of the motion: a smaller squared difference, where both show something, is the same motion."""
LEAST_VARIANCE = 1.0
"""Levels squared; stiller clips are not compared."""
LEAST_OVERLAP = 0.25
"""Share of the frame that both clips show."""
BLOCKS, LEAST_BLOCKS = 8, 12
"""Motion in fewer of 8 x 8 blocks is that of a few things, which look alike wherever they are."""
LIKE_BEST = 0.97
"""Share of the largest product."""
STANDS_OUT, TIMES_USUAL = 40.0, 8.0
"""Few cells that differ by so many levels, and by so many times as much as others, show another thing."""
USUAL_CELLS = 0.95
USUAL = 0.5
"""Share of the clips that are such pictures of others, from which they are no coincidence."""
MOST_CLIPS, PARTNERS, MOST_FRAMES = 128, 16, 6
"""Clips on which it is decided, earlier ones that each is compared with, and frames of each."""
ALIKE = 0.25
"""Share of the energy of two clips that their product must reach before they are compared."""


def shifted_pairs(frames_BTHWC: np.ndarray, episodes_B: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of clips (first, later) of two episodes that show the same elsewhere; none if few clips do.

    Whether they do is decided on at most 128 clips. Each is compared with 16 earlier ones.
    """
    count = len(frames_BTHWC)
    pairs, share = _pairs(frames_BTHWC, episodes_B, _spaced(count, MOST_CLIPS))
    if share < USUAL:
        return []
    return pairs if count <= MOST_CLIPS else _pairs(frames_BTHWC, episodes_B, np.arange(count))[0]


def _pairs(frames_BTHWC: np.ndarray, episodes_B: np.ndarray, chosen: np.ndarray) -> tuple[list[tuple[int, int]], float]:
    """Return the pairs among the chosen clips, and the share of these clips that are in a pair."""
    shown = _spaced(frames_BTHWC.shape[1], MOST_FRAMES)
    cells = np.stack([_cells(frames_BTHWC[one][shown]) for one in chosen])
    cells -= cells.mean(axis=1, keepdims=True)
    spread = np.array([one for one in range(len(cells)) if _is_spread(cells[one])], int)
    spectra = {one: np.fft.rfft2(cells[one], axes=(1, 2)) for one in spread.tolist()}
    has_pair, pairs = np.zeros(len(cells), bool), []
    for number, later in enumerate(spread.tolist()):
        others = spread[:number][episodes_B[chosen[spread[:number]]] != episodes_B[chosen[later]]]
        for first in others[_spaced(len(others), PARTNERS)].tolist():
            products = np.fft.irfft2((spectra[later] * spectra[first].conj()).sum(axis=(0, 3)), s=cells.shape[2:4])
            least = ALIKE * np.sqrt(np.square(cells[later]).sum() * np.square(cells[first]).sum())
            if products.max() < least:
                continue
            down, right = _displacement(products)
            if (down or right) and _is_same(cells[later], cells[first], down, right):
                has_pair[[first, later]] = True
                pairs.append((int(chosen[first]), int(chosen[later])))
    return pairs, float(has_pair.mean())


def _spaced(count: int, most: int) -> np.ndarray:
    """Return at most so many of the numbers below ``count``, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def _displacement(products_YX: np.ndarray) -> tuple[int, int]:
    """Return the least displacement (down, right) that fits about as well as any: repeated patterns have many."""
    places = np.argwhere(products_YX >= LIKE_BEST * products_YX.max())
    signed = np.where(places > np.array(products_YX.shape) // 2, places - np.array(products_YX.shape), places)
    down, right = signed[int(np.argmin(np.square(signed).sum(axis=1)))]
    return int(down), int(right)


def _is_spread(motion_TYXC: np.ndarray) -> bool:
    energy = np.square(motion_TYXC).mean(axis=(0, 3))
    if energy.mean() < LEAST_VARIANCE:
        return False
    blocks = [np.array_split(part, BLOCKS, axis=1) for part in np.array_split(energy, BLOCKS, axis=0)]
    shares = np.array([block.sum() for line in blocks for block in line])
    return bool(shares.sum() ** 2 / np.square(shares).sum() >= LEAST_BLOCKS)


def _is_same(own_TYXC: np.ndarray, other_TYXC: np.ndarray, down: int, right: int) -> bool:
    """Whether a clip shows the other one this far away: rolled as a whole, or where the two overlap."""
    rolled = np.roll(other_TYXC, (down, right), axis=(1, 2))
    height, width = own_TYXC.shape[1:3]
    part = (
        slice(None),
        slice(max(0, down), height + min(0, down)),
        slice(max(0, right), width + min(0, right)),
    )
    own, other = own_TYXC[part], rolled[part]
    if own[0].size < LEAST_OVERLAP * own_TYXC[0].size:
        return False
    off = np.square(own - other)
    least = min(np.square(own).mean(), np.square(other).mean())
    if least < LEAST_VARIANCE or off.mean() > SAME_SHARE * least:
        return False
    # Other things over the same repeated background differ much in few places.
    off_TD = np.sqrt(off.reshape(len(off), -1))
    usual = int(USUAL_CELLS * (off_TD.shape[1] - 1))
    usual_T = np.sqrt(np.square(np.partition(off_TD, usual, axis=1)[:, :usual]).mean(axis=1))
    return bool((off_TD.max(axis=1) >= np.maximum(STANDS_OUT, TIMES_USUAL * usual_T)).mean() < 0.5)


def _cells(frames_THWC: np.ndarray) -> np.ndarray:
    """Return the means of cells, float32 [T, Y, X, C]."""
    count, height, width = frames_THWC.shape[:3]
    side = min(-(-max(height, width) // SIDE), height, width)
    rows, columns = height // side, width // side
    whole = frames_THWC[:, : rows * side, : columns * side].astype(np.float32)
    means: np.ndarray = whole.reshape(count, rows, side, columns, side, -1).mean(axis=(2, 4))
    return means
