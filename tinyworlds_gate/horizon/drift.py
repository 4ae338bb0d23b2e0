"""Drift: how the statistics of generated frames leave those of the true frames, step by step.

Sharpness and motion are ratios to the true frames of the same step. The colour distance is the earth mover's distance
between the colour histograms of a generated frame and its true frame, in levels of 255, a mean over the colours.

Axes: B clips, S steps, H, W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import mean_interval, ratio_interval


def drift(context: np.ndarray, true: np.ndarray, generated: np.ndarray, episodes: np.ndarray) -> dict[str, Any]:
    """Return sharpness, motion and colour distance by step, with 95 % intervals over episodes.

    Args:
        context: uint8 [B, P, H, W, 3].
        true: uint8 [B, S, H, W, 3].
        generated: uint8 [B, S, H, W, 3].
        episodes: int [B].
    """
    last = context[:, -1:]
    distance = _colour_distance(true, generated)
    copied = _colour_distance(true, np.broadcast_to(last, true.shape))
    ends = [mean_interval(values, episodes) for values in distance.T]
    return {
        "sharpness": _ratios(_edges(generated), _edges(true), episodes),
        "motion": _ratios(_changes(last, generated), _changes(last, true), episodes),
        "colour_distance": {
            "by_step": distance.mean(axis=0).tolist(),
            "low_by_step": [_known(low) for low, _ in ends],
            "high_by_step": [_known(high) for _, high in ends],
            "copy_last_by_step": copied.mean(axis=0).tolist(),
        },
    }


def _ratios(made_BS: np.ndarray, true_BS: np.ndarray, episodes: np.ndarray) -> dict[str, list[float | None]]:
    rows = []
    for made, true in zip(made_BS.T, true_BS.T, strict=True):
        total = float(true.sum())
        low, high = ratio_interval(made, true, episodes) if total else (np.nan, np.nan)
        rows.append((float(made.sum()) / total if total else None, _known(low), _known(high)))
    values, lows, highs = (list(one) for one in zip(*rows, strict=True))
    return {"by_step": values, "low_by_step": lows, "high_by_step": highs}


def _edges(frames: np.ndarray) -> np.ndarray:
    """Return the mean difference of neighbouring pixels of each frame, float64 [B, S]."""
    table = np.empty(frames.shape[:2])
    for number, clip in enumerate(frames):
        wide = clip.astype(np.int16)
        table[number] = sum(np.abs(np.diff(wide, axis=axis)).mean(axis=(1, 2, 3), dtype=np.float64) for axis in (1, 2))
    return table


def _changes(last: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the mean change from the frame before, float64 [B, S]."""
    table = np.empty(frames.shape[:2])
    for number, (before, clip) in enumerate(zip(last, frames, strict=True)):
        wide = np.concatenate((before, clip)).astype(np.int16)
        table[number] = np.abs(np.diff(wide, axis=0)).mean(axis=(1, 2, 3), dtype=np.float64)
    return table


def _colour_distance(true: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Return the mean distance of the sorted values of each colour, in levels: float64 [B, S]."""
    table = np.empty(true.shape[:2])
    for number, pair in enumerate(zip(true, made, strict=True)):
        sorted_SXC = [np.sort(one.reshape(len(one), -1, one.shape[-1]), axis=1).astype(np.int16) for one in pair]
        table[number] = np.abs(sorted_SXC[0] - sorted_SXC[1]).mean(axis=(1, 2), dtype=np.float64)
    return table


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
