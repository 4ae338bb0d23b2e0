"""Score what is fixed to the screen and changes: displays, inventories, scores.

Axes: N clips, S generated frames, h x w cells, 3 colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import blur, norm
from tinyworlds_gate.gate.measures.objects.compare import BLURS, TOLERATED
from tinyworlds_gate.gate.measures.objects.rare import rare_share
from tinyworlds_gate.gate.measures.objects.regions import Regions, find_regions
from tinyworlds_gate.gate.measures.objects.scene import LEAST_AREA, NOISE, Scene

CHANGES = "change on a display"
CHANGED = 12.0
"""Levels (Euclidean over the colours) by which a display changes, or more where there is noise."""
LASTING = 0.8
"""Where nothing scrolls: share of the changes of a cell that last, if it is a display and no path of an object."""
LEAST_LASTING = 3
"""Clips in which a cell has such a change."""
LASTS = 2
"""Frames for which a change must last, at least."""
RIGHT = 0.2
"""Share of a change's squared size that may remain where the generated frames have it: noise instead of a digit leaves
a third, half of the contrast a quarter."""
FAINT = 0.5
"""The same of a faint change, of which a few levels are much."""
MARGIN = 4
"""Cells around the displays that the blur needs."""
JOINED = 3
"""Cells over which the parts of a display belong together."""


def find_displays(scene: Scene, last: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the cells that are fixed to the screen while the background scrolls, bool [h, w].

    Where nothing scrolls: those whose changes last, each at another time.

    Args:
        scene: has the scrolling.
        last: float32 [N, h, w, 3], cells of the last context frame, without the blur.
        true: float32 [N, S, h, w, 3], cells without the blur.
    """
    if scene.offsets.any():
        return scene.screen
    difference = norm(np.diff(np.concatenate([last[:, None], true], axis=1), axis=1))
    changed = difference > _level(difference)
    some, once = changed.any(axis=1), changed[:, : 1 - LASTS].sum(axis=1) == 1
    lasting = (once & ~changed[:, 1 - LASTS :].any(axis=1)).sum(axis=0)
    return (lasting >= LEAST_LASTING) & (lasting >= LASTING * some.sum(axis=0))


def score_displays(
    scene: Scene, last: np.ndarray, true: np.ndarray, generated: np.ndarray, episodes: np.ndarray
) -> list[dict[str, Any]]:
    """Return a row for each display that changes: its place in pixels, the true changes, how many are generated.

    A change is all cells of a display that differ from the frame before and from the last context frame. What is added
    and what is taken away must be as in the true frames, of the same step or of any step of any clip.

    Args:
        scene: has the scrolling.
        last: float32 [N, h, w, 3], cells of the last context frame, without the blur.
        true: float32 [N, S, h, w, 3], cells without the blur.
        generated: float32 [N, S, h, w, 3], cells without the blur.
        episodes: int [N].
    """
    fixed = find_displays(scene, last, true) if true.shape[1] > 1 else np.zeros(scene.screen.shape, bool)
    if not fixed.any():
        return []
    corner, window = _window(fixed)
    last, true, generated = (one[(..., *window, slice(None))] for one in (last, true, generated))
    fixed = fixed[window]
    displays = _displays(fixed)
    changes, own = (_joined(_changes(one, last, fixed), displays) for one in (true, generated))
    views = [np.diff(blur(true, sigma), axis=1) for sigma in BLURS]
    made = np.diff(generated, axis=1)
    noise = float(np.median(np.square(made[:, :, fixed]).sum(axis=-1)))
    hits = np.zeros(len(changes), bool)
    for view in views:
        left, size = changes.total(_squares(made, view)), changes.total(_squares(view, np.zeros_like(view)))
        hits |= _is_right(left - noise * changes.area, size, changes.area)
    own = own.only(_as_in_truth(own, made, views, noise))
    of_change, of_own = (one.frame // (true.shape[1] - 1) for one in (changes, own))
    display_of_change, display_of_own = (
        one.highest(np.broadcast_to(displays, one.labels.shape)) for one in (changes, own)
    )
    rows = []
    for number in np.unique(display_of_change):
        mine, theirs = display_of_change == number, display_of_own == number
        place = {"what": CHANGES} | _place(displays == number, corner, scene.pixels)
        rows.append(place | rare_share(of_change[mine], hits[mine], of_own[theirs], episodes))
    return rows


def _displays(fixed: np.ndarray) -> np.ndarray:
    """The number of each display, int [h, w], 0 outside: its parts are at most three cells apart."""
    wider = fixed.copy()
    for axis in (0, 1):
        wider = np.logical_or.reduce([np.roll(wider, shift, axis) for shift in range(-JOINED, JOINED + 1)])
    return find_regions(wider[None]).labels[0] * fixed


def _joined(regions: Regions, displays: np.ndarray) -> Regions:
    """The regions of a frame that lie in one display, as one: a picture is right as a whole."""
    if not len(regions):
        return regions
    key = np.stack([regions.frame, regions.highest(np.broadcast_to(displays, regions.labels.shape)).astype(int)])
    _, first, number = np.unique(key, axis=1, return_index=True, return_inverse=True)
    number = number.ravel()
    labels = np.concatenate([[0], number + 1])[regions.labels]
    top, left, height, width = (one[first] for one in (regions.top, regions.left, regions.height, regions.width))
    return Regions(labels, regions.frame[first], top, left, height, width, np.bincount(number, regions.area))


def _window(fixed: np.ndarray) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """Where the displays lie, with a margin: its first row and column, and its slices."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(fixed.any(axis=axis))
        spans.append(slice(max(0, int(places[0]) - MARGIN), int(places[-1]) + 1 + MARGIN))
    return (spans[0].start, spans[1].start), (spans[0], spans[1])


def _place(display: np.ndarray, corner: tuple[int, int], pixels: int) -> dict[str, int]:
    row, column = np.nonzero(display)
    return {
        "top_px": int(row.min() + corner[0]) * pixels,
        "left_px": int(column.min() + corner[1]) * pixels,
        "height_px": int(np.ptp(row) + 1) * pixels,
        "width_px": int(np.ptp(column) + 1) * pixels,
    }


def _squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The squared difference of each cell, [N * S, h, w]."""
    return np.square(norm(one - other)).reshape(-1, *one.shape[2:4])


def _is_right(left: np.ndarray, size: np.ndarray, area: np.ndarray | int) -> np.ndarray:
    """Whether so much of a change may be left: a fifth of its squared size, more if it is faint."""
    return (left <= RIGHT * size + TOLERATED**2 * area) & (left <= FAINT * size)


def _as_in_truth(own: Regions, made: np.ndarray, views: Sequence[np.ndarray], noise: float) -> np.ndarray:
    """Which changes from frame to frame are those of a true change at this place, in any clip; bool [R].

    ``made`` [N, S - 1, h, w, 3]: generated changes; ``views``: true ones, blurred by each of ``BLURS``.
    """
    right = np.zeros(len(own), bool)
    for number in range(len(own)):
        clip, step = divmod(int(own.frame[number]), made.shape[1])
        inside = own.labels[own.frame[number]] == number + 1
        change, area = made[clip, step][inside], int(own.area[number])
        for view in views:
            left = np.square(view[:, :, inside] - change).sum(axis=(-2, -1)) - noise * area
            right[number] |= _is_right(left, np.square(change).sum(), area).any()
    return right


def _changes(frames: np.ndarray, last: np.ndarray, fixed: np.ndarray) -> Regions:
    """What changes at fixed places, from the frame before and from the last context frame; in frames [N * (S - 1)]."""
    difference = norm(np.diff(frames, axis=1)).reshape(-1, *fixed.shape)
    regions = find_regions((difference > _level(difference[:, fixed])) & fixed)
    away = regions.total(_squares(frames[:, 1:], last[:, None]))
    return regions.only((regions.area >= LEAST_AREA) & (away >= regions.area * CHANGED**2))


def _level(difference: np.ndarray) -> float:
    """The smallest difference that is no noise: most of what is fixed stays as it is."""
    return max(CHANGED, NOISE * float(np.median(difference))) if difference.size else CHANGED
