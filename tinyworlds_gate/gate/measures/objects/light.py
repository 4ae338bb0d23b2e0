"""How well the generated frames have the light of the true ones: day and night, flashes, a lamp over a part of them.

The other measures of objects divide the light out. Axes: N clips, C context frames, S generated frames, H x W pixels,
A areas: the whole frame and its quarters, 3 colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval

CHANGED = 4.0
"""Levels, root mean square over the colours, by which an area's mean changes if its light counts as changed."""
REFERENCES = ("the last context frame", "the median of the context frames")
AREAS = ("the whole frame", "the upper left quarter", "the upper right", "the lower left", "the lower right quarter")


def measure_light(
    context: np.ndarray, true: np.ndarray, generated: np.ndarray, episodes: np.ndarray
) -> list[dict[str, Any]]:
    """Return a row for each area whose light changes, and each light without a model that it is compared with.

    ``change`` is the root mean square of the change, in levels; ``frames`` and ``episodes`` count those with a change.
    ``skill`` is 1 − (squared error of the generated light) / (that of the reference), with the ends of its interval.

    Args:
        context: uint8 [N, C, H, W, 3].
        true: uint8 [N, S, H, W, 3].
        generated: uint8 [N, S, H, W, 3].
        episodes: int [N].
    """
    before, then, made = (np.stack([_light(clip) for clip in one]) for one in (context, true, generated))
    error_NA = np.square(made - then).mean(axis=-1).sum(axis=1)
    rows = []
    for reference, light in zip(REFERENCES, (before[:, -1:], np.median(before, axis=1)[:, None]), strict=True):
        change_NSA = np.square(then - light).mean(axis=-1)
        for area, name in enumerate(AREAS):
            change_NS = change_NSA[..., area]
            if change_NS.mean() < CHANGED**2:
                continue
            lit, of_light = change_NS > CHANGED**2, change_NS.sum(axis=1)
            low, high = ratio_interval(error_NA[:, area], of_light, episodes)
            rows.append(
                {
                    "area": name,
                    "reference": reference,
                    "change": float(np.sqrt(change_NS.mean())),
                    "frames": int(lit.sum()),
                    "episodes": len(np.unique(episodes[lit.any(axis=1)])),
                    "skill": float(1 - error_NA[:, area].sum() / of_light.sum()),
                    "skill_low": 1 - high if np.isfinite(high) else None,
                    "skill_high": 1 - low if np.isfinite(low) else None,
                }
            )
    return rows


def _light(frames: np.ndarray) -> np.ndarray:
    """Return the mean colour of each area, [T, A, 3], of frames uint8 [T, H, W, 3]."""
    rows, columns = (max(1, side // 2) for side in frames.shape[1:3])
    halves = [
        half for part in (frames[:, :rows], frames[:, rows:]) for half in (part[:, :, :columns], part[:, :, columns:])
    ]
    return np.stack([(one if one.size else frames).mean(axis=(1, 2), dtype=np.float32) for one in (frames, *halves)], 1)
