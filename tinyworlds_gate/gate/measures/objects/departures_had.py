"""Whether the generated frames have a departure: they agree with the true frames rather than with what was due without.

Axes: N clips, S generated frames, h x w cells, P places that are tried, A cells.
"""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.gate.measures.objects.compare import MATCHED, SEARCHED, Comparison
from tinyworlds_gate.gate.measures.objects.departures import (
    DEPARTURES,
    VANISHES,
    VEERS,
    Departure,
    View,
    is_outside,
    moved_cells,
)
from tinyworlds_gate.gate.measures.objects.scene import Scene

NEAR = 4
"""Cells from its place at which an object may have other looks."""


def has_departure(scene: Scene, result: Comparison, view: View, one: Departure) -> bool:
    """Return whether the generated frames have a departure of the true ones.

    Without it, the object would be at its extrapolated place with its looks so far. What vanishes must be gone in the
    last of the frames that show it: nothing that is nearer to its looks than to nothing is left in or beside its place,
    and nothing like it within a sixth of the frame. Other departures must be there in one of the frames.
    """
    clip = int(view.seen.clip[one.last])
    cells, looks = view.cells(one.last)
    moves = zip(one.moves, one.times, strict=True)
    places = [cells + moved_cells(scene, view.seen, one.last, *move) for move in moves]
    made = result.cells[clip] - result.background[clip]
    if DEPARTURES[one.what] == VANISHES:
        time = one.times[-1]
        extra = np.where(result.differing[clip, time, ..., None], made[time], 0)
        place = cells if is_outside(places[-1], scene.shape[2:]) else places[-1]
        size = np.square(looks).sum()
        is_near = (_costs(extra, place, 0 * looks, NEAR) > _costs(extra, place, looks, NEAR)).any()
        return not is_near and bool(_costs(extra, place, looks, SEARCHED).min() > MATCHED * size)
    reach = 0 if DEPARTURES[one.what] == VEERS else NEAR
    for time, place, after in zip(one.times, places, one.after, strict=True):
        here, new = view.cells(after)
        beside = cells + np.rint(here.mean(axis=0) - cells.mean(axis=0)).astype(int)
        without = [place] if reach == 0 else [place, beside]
        both = np.unique(np.concatenate([here, *without]), axis=0)
        off_true = _costs(made[time], both, _painted(both, here, new), reach).min()
        off_without = min(_costs(made[time], both, _painted(both, old, looks), reach).min() for old in without)
        if off_true < min(off_without, MATCHED * np.square(new).sum()):
            return True
    return False


def _painted(cells: np.ndarray, inside: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """The contrast at ``cells`` [A, 2] where only the cells ``inside`` have any, [A, 3]."""
    place = {tuple(one): number for number, one in enumerate(cells.tolist())}
    painted = np.zeros((len(cells), 3))
    painted[[place[tuple(one)] for one in inside.tolist()]] = looks
    return painted


def _costs(frame: np.ndarray, cells: np.ndarray, looks: np.ndarray, reach: int) -> np.ndarray:
    """The squared difference from ``looks`` [A, 3] at cells [A, 2] of a frame and up to ``reach`` beside them, [P]."""
    height, width = frame.shape[:2]
    span = np.arange(-reach, reach + 1)
    rows = cells[:, 0, None, None] + span[:, None]
    columns = cells[:, 1, None, None] + span[None]
    outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    views = frame[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    off: np.ndarray = np.square(np.where(outside[..., None], 0, views) - looks[:, None, None]).sum(axis=(0, 3))
    return off.ravel()
