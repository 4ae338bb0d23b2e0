"""Frames of the usual contrast and size, so that objects in dark, foggy or very small pictures are seen too.

Axes: N clips, T frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

USUAL = 192.0
"""Levels by which the most changing place of a usual clip changes; frames that reach it stay as they are."""
MOST = 16.0
"""Largest factor: above it, the rounding of frames to whole levels would look like objects."""

SMALL, ENLARGED = 32, 48
"""Pixels along the longer side of frames that are enlarged, and of the enlarged ones, at least."""


@dataclass(frozen=True)
class Contrast:
    """A factor and the level that it leaves as it is."""

    factor: float
    level: float

    def raised(self, frames: np.ndarray) -> np.ndarray:
        """Return uint8 frames with this contrast; frames of the usual contrast are returned as they are."""
        if self.factor == 1:
            return frames
        table = self.level + self.factor * (np.arange(256) - self.level)
        levels: np.ndarray = np.rint(table).clip(0, 255).astype(np.uint8)
        return levels[frames]

    def lowered(self, colour: str) -> str:
        """Return the `#rrggbb` of which a colour was raised."""
        levels = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        own = (round(self.level + (one - self.level) / self.factor) for one in levels)
        return "#" + "".join(f"{min(255, max(0, one)):02x}" for one in own)


def contrast_of(context: np.ndarray, true: np.ndarray) -> Contrast:
    """Return the contrast that raises what changes within the clips, uint8 [N, T, H, W, 3], to the usual one."""
    changes, levels = [], []
    for clip in zip(context, true, strict=True):
        lowest, highest = (of(np.stack([of(one, axis=0) for one in clip]), axis=0) for of in (np.min, np.max))
        change = highest - lowest
        place = np.unravel_index(change.argmax(), change.shape)
        changes.append(float(change[place]))
        levels.append((float(lowest[place]) + float(highest[place])) / 2)
    change = float(np.median(changes))
    factor = min(MOST, USUAL / change) if 0 < change < USUAL else 1.0
    level = float(np.median(levels))
    # The level that stays is chosen so that the middle of the change goes to the middle of the range.
    return Contrast(factor, level if factor == 1 else (factor * level - 127.5) / (factor - 1))


def enlargement_of(frames: np.ndarray) -> int:
    """Return by which factor frames [..., H, W, 3] are enlarged: the blur would hide a pixel of a very small frame."""
    side = max(frames.shape[-3:-1])
    return -(-ENLARGED // side) if side <= SMALL else 1


def enlarged(frames: np.ndarray, factor: int) -> np.ndarray:
    """Return frames [..., H, W, 3] in which each pixel is repeated down and across."""
    return frames.repeat(factor, axis=-3).repeat(factor, axis=-2) if factor > 1 else frames


def as_shown(record: Any, factor: int, contrast: Contrast) -> Any:
    """Return a record with its numbers of pixels (`*_px`) and colours as the frames themselves have them."""
    if isinstance(record, list):
        return [as_shown(one, factor, contrast) for one in record]
    if not isinstance(record, dict):
        return record
    shown = {key: as_shown(value, factor, contrast) for key, value in record.items()}
    shown |= {key: value // factor for key, value in record.items() if key.endswith("_px")}
    return shown | ({"colour": contrast.lowered(record["colour"])} if "colour" in record else {})
