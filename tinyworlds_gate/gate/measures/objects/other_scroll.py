"""Cut out the bands of the screen that scroll otherwise than the rest: split screens, parallax. Each is its own scene.

Axes: N clips, F frames, S generated frames, H x W pixels, h x w cells, 3 colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tinyworlds_gate.gate.measures.objects.background import DIFFERENT, scrolled_by
from tinyworlds_gate.gate.measures.objects.cells import largest
from tinyworlds_gate.gate.measures.objects.scene import Scene
from tinyworlds_gate.gate.measures.objects.scroll_evidence import MOVING_SHARE

UNJUDGED = 0.3
"""Share of a row's cells, right after the context, of which the background is not found in a band of its own."""
LEAST_SHARE, MOST_SHARE = 0.2, 0.8
"""Of the frame's height or width that such a band covers."""
OTHERWISE = 0.5
"""Share of the steps in which the background of the band moves, and otherwise than that of the frame."""

Box = tuple[slice, slice]


def cut_bands(scene: Scene, frames: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return ``frames`` cut to each band of rows or columns that scrolls otherwise than the background of the scene.

    ``frames``: the context frames, uint8 [N, C, H, W, 3], the true frames, and others.
    """
    clips = np.concatenate(frames[:2], axis=1)
    first = frames[0].shape[1] - 1
    whole = np.rint(scene.offsets * scene.pixels).astype(int)

    def scrolls(box: Box) -> bool:
        offsets = np.stack(scrolled_by(list(clips[(slice(None), slice(None), *box)])))
        steps = np.diff(offsets[:, first:], axis=1)
        moves = steps.any(axis=-1) & (steps != np.diff(whole, axis=1, prepend=0)).any(axis=-1)
        return bool(moves.mean() >= OTHERWISE)

    found = max(([box for box in boxes if scrolls(box)] for boxes in _candidates(scene, clips)), key=len, default=[])
    return [[one[(slice(None), slice(None), *box)] for one in frames] for box in found]


def _candidates(scene: Scene, clips: np.ndarray) -> Iterator[list[Box]]:
    """Yield the band of which no background was found; the halves if none scrolls and much of the frame changes."""
    height, width = clips.shape[2:4]
    if scene.offsets.any():
        unjudged = (~scene.judged[:, 0]).mean(axis=0)
        for axis, size in ((1, height), (0, width)):
            if (band := _band(unjudged.mean(axis=axis) >= UNJUDGED)) is not None:
                pixels = slice(band.start * scene.pixels, min(size, band.stop * scene.pixels))
                yield [(pixels, slice(None)) if axis == 1 else (slice(None), pixels)]
                return
    elif _changing(clips) > MOVING_SHARE:
        yield [(half, slice(None)) for half in (slice(0, height // 2), slice(height // 2, None))]
        yield [(slice(None), half) for half in (slice(0, width // 2), slice(width // 2, None))]


def _band(rows: np.ndarray) -> slice | None:
    """Return the longest run of rows, if it is a band; bool [h]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(int)))
    runs = [slice(int(low), int(high)) for low, high in edges.reshape(-1, 2)]
    longest = max(runs, key=lambda run: run.stop - run.start, default=slice(0, 0))
    share = (longest.stop - longest.start) / len(rows)
    return longest if LEAST_SHARE <= share <= MOST_SHARE else None


def _changing(clips: np.ndarray) -> float:
    """Return the share of the pixels that differ from the frame before."""
    changes = [(largest(np.abs(np.diff(clip.astype(np.int16), axis=0))) > DIFFERENT).mean() for clip in clips]
    return float(np.mean(changes))
