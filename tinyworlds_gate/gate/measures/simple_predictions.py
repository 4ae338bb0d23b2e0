"""Predictions from a clip's context frames and a mean frame, without any model: the parts of G8's blends.

Axes: P context frames, S generated frames, N predictions, C colours, H height, W width. Frames are float32 in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from tinyworlds_gate.gate.measures.moved_parts import MovedParts, moved_parts

WHITE = 255.0
PARTS = (
    "last frame, earlier context frames, their mean and median, mean frame, mean frame where the context changes, "
    "translated copy, regions and objects that move on, brightness trend and blurred last frame"
)
"""The predictions that are blended; linear extrapolations are blends of context frames."""

EARLIER = 3
"""Context frames before the last one that are predictions of their own."""
CHANGED = 2.5 / WHITE
"""A pixel changed within the context if its values differ by more than this."""
BLUR = 1 / 12
"""Standard deviation of the blur, as a share of the frame's side."""
PEAKS = 4
"""Peaks of the cross-correlation that are tried as the translation."""
LARGEST_RATIO = 2.0
"""Largest factor by which the brightness changes from frame to frame."""
DARK = 1e-3
"""Added to brightnesses before they are divided."""


@dataclass(frozen=True)
class Predictions:
    """What a context predicts; ``still_NCHW`` are the same for every step.

    ``extrapolated_SCHW`` is no part of a blend, because it is one of the last two frames.
    """

    last_CHW: np.ndarray
    still_NCHW: np.ndarray
    extrapolated_SCHW: np.ndarray
    translated_SCHW: np.ndarray
    faded_SCHW: np.ndarray
    moved: MovedParts | None

    @property
    def moving(self) -> list[np.ndarray | None]:
        """The parts of a blend that differ from step to step, float32 or uint8; None: the same as the last frame."""
        return [self.translated_SCHW, self.faded_SCHW, *(self.moved or [None] * len(fields(MovedParts)))]


def predictions(context_PHWC: np.ndarray, mean_HWC: np.ndarray | None, steps: int) -> Predictions:
    """Return what uint8 context frames predict; ``mean_HWC`` in [0, 255], None: no mean frame is known."""
    context = planes(context_PHWC)
    last, before, count = context[-1], context[max(0, len(context) - 2)], len(context)
    lowest, highest = context.min(axis=0), context.max(axis=0)
    still = [*context[max(0, count - 1 - EARLIER) : -1], _blurred(last)]
    if count > 1 + EARLIER:
        still += [context[0], context.mean(axis=0)]
    if count > 2:
        still.append((context.sum(axis=0) - lowest - highest) / (count - 2))
    if mean_HWC is not None:
        mean = planes(mean_HWC[None])[0]
        still += [mean, np.where((highest - lowest).max(axis=0) > CHANGED, mean, last)]
    after = np.arange(1, steps + 1, dtype=np.float32)[:, None, None, None]
    return Predictions(
        last,
        np.stack(still),
        (last + after * (last - before)).clip(0, 1),
        _translated(last, translation(before, last), steps),
        (last * _ratio(before, last) ** after).clip(0, 1),
        moved_parts(context_PHWC, steps),
    )


def planes(frames: np.ndarray) -> np.ndarray:
    """Turn frames ``[N, H, W, C]`` in [0, 255] into float32 ``[N, C, H, W]`` in [0, 1]."""
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2), np.float32) / np.float32(WHITE)


def scaled(frames: np.ndarray) -> np.ndarray:
    """Return uint8 frames as float32 in [0, 1], others as they are."""
    return frames.astype(np.float32) / np.float32(WHITE) if frames.dtype == np.uint8 else frames


def translation(before_CHW: np.ndarray, last_CHW: np.ndarray) -> tuple[int, int]:
    """Return by how many pixels (down, right) the whole picture moved from one frame to the next.

    The strongest peaks of the phase correlation are compared by the error where both frames overlap.
    """
    before, last = before_CHW.mean(axis=0), last_CHW.mean(axis=0)
    best, smallest = (0, 0), float(np.square(last - before).mean())
    if smallest == 0:
        return best
    product = np.fft.rfft2(last - last.mean()) * np.fft.rfft2(before - before.mean()).conj()
    peaks = np.fft.irfft2(product / (np.abs(product) + 1e-9), s=last.shape)
    chosen = np.argpartition(peaks, -min(PEAKS, peaks.size), axis=None)[-PEAKS:]
    for place in zip(*np.unravel_index(chosen, peaks.shape), strict=True):
        down, right = (int(at) - size * (at > size // 2) for at, size in zip(place, peaks.shape, strict=True))
        error = float(np.square(_overlap(last, down, right) - _overlap(before, -down, -right)).mean())
        if error < smallest:
            best, smallest = (down, right), error
    return best


def _overlap(frame_HW: np.ndarray, down: int, right: int) -> np.ndarray:
    height, width = frame_HW.shape
    return frame_HW[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]


def _translated(last_CHW: np.ndarray, by: tuple[int, int], steps: int) -> np.ndarray:
    """Return the last frame moved on by this much a step; what enters repeats the edge."""
    if by == (0, 0):
        return np.broadcast_to(last_CHW, (steps, *last_CHW.shape))
    rows, columns = (np.arange(size) for size in last_CHW.shape[1:])
    moved = [
        last_CHW.take(rows - step * by[0], axis=1, mode="clip").take(columns - step * by[1], axis=2, mode="clip")
        for step in range(1, steps + 1)
    ]
    return np.stack(moved)


def _ratio(before_CHW: np.ndarray, last_CHW: np.ndarray) -> np.ndarray:
    """Return ``[C, 1, 1]``: by which factor the brightness of each colour changed."""
    was, now = (one.mean(axis=(1, 2), keepdims=True) + DARK for one in (before_CHW, last_CHW))
    ratio: np.ndarray = np.clip(now / was, 1 / LARGEST_RATIO, LARGEST_RATIO)
    return ratio


def _blurred(frame_CHW: np.ndarray) -> np.ndarray:
    height, width = frame_CHW.shape[1:]
    blurred: np.ndarray = _blur(height) @ frame_CHW @ _blur(width).T
    return blurred


@lru_cache(maxsize=4)
def _blur(size: int) -> np.ndarray:
    """Return the matrix ``[size, size]`` of a Gaussian blur; outside the picture nothing is added."""
    distance = np.subtract.outer(np.arange(size), np.arange(size)) / max(BLUR * size, 0.5)
    weights = np.exp(-np.square(distance) / 2)
    normed: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normed
