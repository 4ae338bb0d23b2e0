"""Score what is fixed to the screen and changes: displays, inventories, scores.

Axes: N clips, S generated frames, h x w cells, 3 colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import norm
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
FOLLOWED = 0.5
"""Share of a change's squared size that may remain where the generated frames have it."""
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

    A change is a connected group of cells that differ from the frame before and from the last context frame.

    Args:
        scene: has the scrolling.
        last: float32 [N, h, w, 3], cells of the last context frame, without the blur.
        true: float32 [N, S, h, w, 3], cells without the blur.
        generated: float32 [N, S, h, w, 3], cells without the blur.
        episodes: int [N].
    """
    if true.shape[1] < 2:
        return []
    fixed, pixels = find_displays(scene, last, true), scene.pixels
    before = np.concatenate([last[:, None], true[:, :-1]], axis=1)
    changes = _changes(true, before, fixed)
    away = np.square(norm(true - last[:, None])).reshape(-1, *fixed.shape)
    changes = changes.only(changes.total(away) >= changes.area * CHANGED**2)
    left = changes.total(np.square(norm(generated - true)).reshape(away.shape))
    hits = left <= FOLLOWED * changes.total(away)
    own = _changes(generated[:, 1:], generated[:, :-1], fixed)
    steps = true.shape[1]
    of_change, of_own = changes.frame // steps, own.frame // (steps - 1)
    wider = fixed.copy()
    for axis in (0, 1):
        wider = np.logical_or.reduce([np.roll(wider, shift, axis) for shift in range(-JOINED, JOINED + 1)])
    displays = find_regions(wider[None])
    rows = []
    for number in range(len(displays)):
        of_display = (displays.labels[0] == number + 1) & fixed
        mine, theirs = (
            np.isin(np.arange(len(one)), np.unique(one.labels[:, of_display]) - 1) for one in (changes, own)
        )
        if not mine.any():
            continue
        row, column = np.nonzero(of_display)
        place: dict[str, Any] = {
            "what": CHANGES,
            "top_px": int(row.min()) * pixels,
            "left_px": int(column.min()) * pixels,
            "height_px": int(np.ptp(row) + 1) * pixels,
            "width_px": int(np.ptp(column) + 1) * pixels,
        }
        rows.append(place | rare_share(of_change[mine], hits[mine], of_own[theirs], episodes))
    return rows


def _changes(after: np.ndarray, before: np.ndarray, fixed: np.ndarray) -> Regions:
    """What changes at fixed places; frames [N, S, h, w, 3]."""
    difference = norm(after - before).reshape(-1, *fixed.shape)
    regions = find_regions((difference > _level(difference[:, fixed])) & fixed)
    return regions.only(regions.area >= LEAST_AREA)


def _level(difference: np.ndarray) -> float:
    """The smallest difference that is no noise: most of what is fixed stays as it is."""
    return max(CHANGED, NOISE * float(np.median(difference))) if difference.size else CHANGED
