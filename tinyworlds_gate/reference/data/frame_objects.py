"""The dataset ``objects`` of a frames file: which objects a frame shows, and where.

A table [M] with the fields ``frame`` (int32, ascending), ``kind`` (bytes, at most 16), ``x`` and ``y`` (float32, the
middle in pixels).
"""

from __future__ import annotations

import numpy as np

OBJECT_IN_FRAME = np.dtype([("frame", "<i4"), ("kind", "S16"), ("x", "<f4"), ("y", "<f4")])
OBJECT_IN_CLIP = np.dtype([("clip", "<i4"), ("step", "<i4"), ("kind", "S16"), ("x", "<f4"), ("y", "<f4")])


def objects_of_frames(objects: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the objects of chosen frames, int [N] ascending, numbered by their place among these."""
    place = np.searchsorted(frames, objects["frame"])
    chosen = (place < len(frames)) & (frames[np.minimum(place, len(frames) - 1)] == objects["frame"])
    table = objects[chosen].copy()
    table["frame"] = place[chosen]
    return table


def objects_of_clips(objects: np.ndarray, frames: np.ndarray, scale: float) -> np.ndarray:
    """Return the objects of clips as a table with clip and step in place of the frame.

    Args:
        objects: the table of the file.
        frames: int [B, T], the frames of each clip in the file.
        scale: pixels of the clips over pixels of the file.
    """
    first = np.searchsorted(objects["frame"], frames.ravel())
    last = np.searchsorted(objects["frame"], frames.ravel(), side="right")
    counts = last - first
    place = np.repeat(np.arange(frames.size), counts)
    within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    chosen = objects[first[place] + within]
    table = np.empty(len(chosen), OBJECT_IN_CLIP)
    table["clip"], table["step"] = place // frames.shape[1], place % frames.shape[1]
    table["kind"], table["x"], table["y"] = chosen["kind"], chosen["x"] * scale, chosen["y"] * scale
    return table
