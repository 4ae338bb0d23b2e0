"""How much moves in the generated frames and how sharp they are, against the true frames: shown, not judged.

A model that averages the possible futures has a small squared error, moves too little and is blurred.

Axes: N clips, C context frames, S generated frames, H x W pixels.
"""

from __future__ import annotations

import math

import numpy as np


def motion_ratio(context: np.ndarray, true: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean change from frame to frame over that of the true frames; 1 moves as much, 0 is a still picture.

    All uint8 [N, C or S, H, W, 3]. NaN where nothing moves in the true frames.
    """
    changes = [0.0, 0.0]
    for last, *futures in zip(context[:, -1], true, generated, strict=True):
        for number, future in enumerate(futures):
            frames = np.concatenate([last[None], future]).astype(np.int16)
            changes[number] += float(np.abs(np.diff(frames, axis=0)).mean(dtype=np.float64))
    return changes[1] / changes[0] if changes[0] else math.nan


def sharpness(true: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean difference of neighbouring pixels over that of the true frames; below 1 is blurred.

    Both uint8 [N, S, H, W, 3]. NaN where the true frames have no edge.
    """
    edges = [0.0, 0.0]
    for pair in zip(true, generated, strict=True):
        for number, frames in enumerate(pair):
            edges[number] += sum(
                float(np.abs(np.diff(frames.astype(np.int16), axis=axis)).mean(dtype=np.float64)) for axis in (1, 2)
            )
    return edges[1] / edges[0] if edges[0] else math.nan
