"""Whether what stands still in the true frames stays as it was: snow, lines, a veil or a tint are in no true frame.

A block of 8 x 8 cells is wrong if its colour is off, or if its pixels differ more from their neighbours than the true
ones. Blur lowers the second and leaves the first; brightness and contrast of the whole frame are divided out.

Axes: N clips, S generated frames, H x W pixels, h x w cells, b x d blocks, 3 colours.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.cells import BLOCK, neighbours, norm
from tinyworlds_gate.gate.measures.objects.scene import Scene

OFF = 12.0
"""Levels, root mean square over the colours, by which a block is wrong: noise of 8 levels stays below it."""
LEAST_STILL = 0.5
"""Share of a block's cells that must stand still."""
GAIN, OFFSET = (0.85, 1.15), (-28.0, 28.0)
"""Contrast and brightness (levels) that the generated frames may have beside the true ones."""
OTHER_TEXTURE = 1.5
"""Times the strength of a block's texture by which another texture is off: none at all is off by once as much."""
TRIMMED = 0.5
"""Share of the blocks from which contrast and brightness are fitted again: those that the first fit explains best."""


def measure_still(
    scene: Scene,
    frames: tuple[np.ndarray, np.ndarray],
    cells: tuple[np.ndarray, np.ndarray],
    episodes: np.ndarray,
) -> dict[str, Any]:
    """Return how many blocks stand still, in how many episodes, and the share of them that is wrong, with its interval.

    Args:
        scene: says what stands still: what is known and like the background, away from objects.
        frames: the true and the generated frames, uint8 [N, S, H, W, 3].
        cells: their cells without blur, float32 [N, S, h, w, 3].
        episodes: int [N].
    """
    moving = (norm(scene.true - scene.background) > scene.threshold) | ~scene.known
    still = ~neighbours(neighbours(np.repeat(moving[..., None], 3, axis=-1), np.maximum), np.maximum)[..., 0]
    share = _blocks(still[..., None].astype(np.float32))[..., 0]
    judged = share >= LEAST_STILL
    true, generated = (_blocks(one * still[..., None]) / np.maximum(share, 1e-6)[..., None] for one in cells)
    off = np.square(generated - _in_light(true, generated, judged)).mean(axis=-1)
    rough = [np.stack([_roughness(clip, scene.pixels) for clip in one]) for one in frames]
    rougher = _blocks((rough[1] - rough[0]) * still[..., None]).max(axis=-1)
    rougher = np.maximum(rougher, _other_texture(*frames, still, rough[0], scene.pixels))
    off += np.maximum(rougher / np.maximum(share, 1e-6), 0)
    wrong = (off > OFF**2) & judged
    wrong, judged = (one.sum(axis=(1, 2, 3)).astype(float) for one in (wrong, judged))
    low, high = ratio_interval(wrong, judged, episodes) if judged.sum() else (np.nan, np.nan)
    return {
        "blocks": int(judged.sum()),
        "episodes": len(np.unique(episodes[judged > 0])),
        "wrong": float(wrong.sum() / judged.sum()) if judged.sum() else None,
        "wrong_low": max(0.0, low) if np.isfinite(low) else None,
        "wrong_high": min(1.0, high) if np.isfinite(high) else None,
    }


def _blocks(table: np.ndarray) -> np.ndarray:
    """Return the mean of each block, [N, S, b, d, c]; cells beyond the last whole block are left out."""
    rows, columns = (max(1, side // BLOCK) for side in table.shape[2:4])
    high, wide = min(BLOCK, table.shape[2]), min(BLOCK, table.shape[3])
    cut = table[:, :, : rows * high, : columns * wide]
    return cut.reshape(*table.shape[:2], rows, high, columns, wide, -1).mean(axis=(3, 5))


def _roughness(frames: np.ndarray, pixels: int) -> np.ndarray:
    """Return half the mean squared difference of neighbours down and across, [S, h, w, 2]: the variance of noise."""
    height, width = frames.shape[1:3]
    rows, columns = -(-height // pixels), -(-width // pixels)
    pad = ((0, 0), (0, rows * pixels - height + 1), (0, columns * pixels - width + 1), (0, 0))
    wide = np.pad(frames, pad, mode="edge").astype(np.int32)
    here, shape = wide[:, :-1, :-1], (len(frames), rows, pixels, columns, pixels)
    both = [np.einsum("...c,...c->...", one, one) for one in (wide[:, 1:, :-1] - here, wide[:, :-1, 1:] - here)]
    return np.stack([one.reshape(shape).mean(axis=(2, 4)) for one in both], axis=-1) / (2 * 3)


def _other_texture(true: np.ndarray, made: np.ndarray, still: np.ndarray, rough: np.ndarray, pixels: int) -> np.ndarray:
    """Return by how much the texture of each block is another one, as the variance of noise, [N, S, b, d].

    Without any texture a block is as far from the true one as its texture is strong, with another one twice as far.
    The generated frame may be displaced by a pixel.
    """
    shifts = sorted(product((-1, 0, 1), repeat=2), key=lambda one: abs(one[0]) + abs(one[1]))
    least: np.ndarray | None = None
    for down, right in shifts:
        clips = np.arange(len(true)) if least is None else np.flatnonzero((least > OFF**2).any(axis=(1, 2, 3)))
        if not len(clips):
            break
        moved = np.roll(made[clips], (down, right), axis=(2, 3))
        off = np.stack(
            [_roughness(one.astype(np.int16) - other, pixels) for one, other in zip(moved, true[clips], strict=True)]
        )
        excess = _blocks((off - OTHER_TEXTURE * rough[clips]) * still[clips][..., None]).max(axis=-1)
        if least is None:
            least = excess
        else:
            least[clips] = np.minimum(least[clips], excess)
    assert least is not None
    return least


def _in_light(true: np.ndarray, generated: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """The true blocks in the contrast and brightness of each generated frame, the same for all blocks and colours."""
    weight = np.repeat(judged[..., None], 3, axis=-1).astype(float)
    fitted = _fitted(true, generated, weight)
    off = np.where(weight > 0, np.abs(generated - fitted), np.inf).max(axis=-1, keepdims=True)
    flat = np.sort(off.reshape(*off.shape[:2], -1), axis=-1)
    last = np.maximum((judged.sum(axis=(2, 3)) * TRIMMED).astype(int), 1) - 1
    near = np.take_along_axis(flat, last[..., None], axis=-1)[..., None, None]
    return _fitted(true, generated, weight * (off <= near))


def _fitted(true: np.ndarray, generated: np.ndarray, weight: np.ndarray) -> np.ndarray:
    axes = (2, 3, 4)
    count = np.maximum(weight.sum(axis=axes, keepdims=True), 1e-9)
    one, other = ((weight * table).sum(axis=axes, keepdims=True) / count for table in (true, generated))
    both = (weight * (true - one) * (generated - other)).sum(axis=axes, keepdims=True)
    gain = np.clip((both + 1) / ((weight * np.square(true - one)).sum(axis=axes, keepdims=True) + 1), *GAIN)
    return gain * true + np.clip(other - gain * one, *OFFSET)
