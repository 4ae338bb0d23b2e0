"""Scenes of squares before a flat background, written down cell by cell.

Axes: N clips, S generated frames, h x w cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.regions import find_regions
from tinyworlds_gate.gate.measures.objects.scene import Scene

CELLS, SHADE = 32, 100.0
RED, BLUE = (220.0, 100.0, 100.0), (100.0, 100.0, 240.0)
Square = tuple[int, int, int, int, tuple[float, float, float]]
"""Top, left, height, width and colour."""


def drawn(*squares: Square) -> np.ndarray:
    """Return one frame, float32 [h, w, 3]."""
    frame = np.full((CELLS, CELLS, 3), SHADE, np.float32)
    for top, left, height, width, colour in squares:
        frame[top : top + height, left : left + width] = colour
    return frame


def scene_of(before: np.ndarray, last: np.ndarray, true: Sequence[np.ndarray], **changes: Any) -> Scene:
    """Return the scene of one clip with two context frames and these true frames, over a background that stays."""
    frames = np.stack(true)[None]
    background = np.broadcast_to(drawn(), frames.shape)
    context = np.stack([before, last])[None]
    shape = frames.shape[:-1]
    facts: dict[str, Any] = {
        "true": frames,
        "background": background,
        "last": np.broadcast_to(last, frames.shape),
        "known": np.ones(shape, bool),
        "judged": np.ones(shape, bool),
        "threshold": np.full((1, 1, CELLS, CELLS), 6.0),
        "objects": find_regions((frames != background).any(axis=-1).reshape(-1, CELLS, CELLS)),
        "context": (context, background[:, :1].repeat(2, axis=1), np.zeros((1, 2, 2))),
        "offsets": np.zeros((1, len(true), 2)),
        "pixels": 2,
        "screen": np.zeros((CELLS, CELLS), bool),
    }
    return Scene(**{**facts, **changes})


def repeated_scene(scene: Scene, clips: int) -> Scene:
    """Return a scene of so many clips that all show what the one clip of ``scene`` shows."""
    names = ("true", "background", "last", "known", "judged", "threshold", "offsets")
    many: dict[str, Any] = {name: np.repeat(getattr(scene, name), clips, axis=0) for name in names}
    differs = (many["true"] != many["background"]).any(axis=-1)
    context: Any = tuple(np.repeat(part, clips, axis=0) for part in scene.context)
    return replace(scene, objects=find_regions(differs.reshape(-1, CELLS, CELLS)), context=context, **many)
