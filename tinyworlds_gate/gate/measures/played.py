"""Whether frames that freely chosen codes generate look like frames of the game, without labels (pure).

Nobody knows the true frames of other actions. So these frames are compared with all true frames: by the distance of
their patches to the nearest true ones, sharpness, motion, and the error of another clip's true frames.

Axes: B clips, K clips of a probe, P context frames, S generated frames, H height, W width, C colours, N patches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.motion_and_sharpness import motion_ratio, sharpness
from tinyworlds_gate.gate.measures.probe_gain import ROUNDING_VARIANCE
from tinyworlds_gate.gate.measures.recomputed_errors import frame_errors

Record = dict[str, Any]

LEAST_EPISODES = 5
KNOWN, ASKED = 6000, 1500
"""Patches of true frames to compare with, and patches that are compared."""
PARTS, LEAST_SIDE, CELLS = 8, 4, 8
"""A patch is an eighth of the frame high and wide, at least 4 px, and averaged to at most 8 x 8 cells."""


def played_record(
    context_BPHWC: np.ndarray,
    true_BSHWC: np.ndarray,
    episodes_B: np.ndarray,
    clips: tuple[int, ...],
    predicted_KSHWC: np.ndarray,
    played_KSHWC: np.ndarray,
    codes: int,
) -> Record:
    """Return the record of the frames ``played``, which freely chosen codes generate of the chosen clips.

    ``error`` is a multiple of the error of another clip's true frames; ``patches`` are root distances to the nearest
    true patches of other episodes, squared after the mean, as a share of the variance of patches; sharpness and motion
    are multiples of those of the true frames. ``predicted`` has the frames with inferred codes, ``codes`` the number of
    codes to choose from.
    """
    rows = np.array(clips, int)
    episodes = len(np.unique(episodes_B[rows]))
    if codes < 2:
        return {"no_occasion": "fewer than two action codes are in use, so there is nothing to choose"}
    if episodes < LEAST_EPISODES:
        return {"no_occasion": f"clips of {episodes} episodes were generated, at least {LEAST_EPISODES} are needed"}
    context, true, episode_K = context_BPHWC[rows], true_BSHWC[rows], episodes_B[rows]
    order = np.argsort(episode_K, kind="stable")
    most = int(np.unique(episode_K, return_counts=True)[1].max())
    other = np.empty_like(order)
    other[order] = np.roll(order, -most)  # sorted by episode, a clip so much further on lies in another one
    error, error_other = (frame_errors(one, true).mean() + ROUNDING_VARIANCE for one in (played_KSHWC, true[other]))
    kinds = {"": played_KSHWC, "_true": true, "_predicted": predicted_KSHWC}
    look = {f"sharpness{kind}": sharpness(true, kinds[kind]) for kind in ("", "_predicted")}
    look |= {f"motion{kind}": motion_ratio(context, true, kinds[kind]) for kind in ("", "_predicted")}
    if not all(math.isfinite(one) for one in look.values()):
        return {"no_occasion": "nothing moves in the true frames, or they have no edges"}
    apart = _patch_distances(context_BPHWC, true_BSHWC, episodes_B, list(kinds.values()), episode_K)
    return {
        "no_occasion": None,
        "clips": len(rows),
        "episodes": episodes,
        "codes": codes,
        "error": float(error / error_other),
        **{f"patches{kind}": distance for kind, distance in zip(kinds, apart, strict=True)},
        **look,
        "motion_other": _change(true, true[other]) / _change(_before(context, true), true),
    }


def _before(context_KPHWC: np.ndarray, true_KSHWC: np.ndarray) -> np.ndarray:
    """Return the frame before each true frame."""
    return np.concatenate([context_KPHWC[:, -1:], true_KSHWC[:, :-1]], axis=1)


def _change(one_KSHWC: np.ndarray, other_KSHWC: np.ndarray) -> float:
    return float(np.abs(one_KSHWC.astype(np.int16) - other_KSHWC).mean(dtype=np.float64))


def _patch_distances(
    context_BPHWC: np.ndarray,
    true_BSHWC: np.ndarray,
    episodes_B: np.ndarray,
    asked: list[np.ndarray],
    episode_K: np.ndarray,
) -> list[float]:
    """Return for each set of frames [K, S, H, W, C] how far its patches are from true ones of other episodes."""
    rng = np.random.default_rng(0)
    parts = (_patches(frames, episodes_B, KNOWN // 2, rng) for frames in (context_BPHWC, true_BSHWC))
    known_ND, episode_N = (np.concatenate(part) for part in zip(*parts, strict=True))
    variance = float(known_ND.var(axis=0).mean()) + 1.0
    seed, found = int(rng.integers(1 << 31)), []
    for frames in asked:
        patches_ND, own_N = _patches(frames, episode_K, ASKED, np.random.default_rng(seed))
        squares_NN = np.square(known_ND).sum(axis=1) - 2.0 * (patches_ND @ known_ND.T)
        squares_NN[own_N[:, None] == episode_N] = np.inf
        nearest_N = np.maximum(squares_NN.min(axis=1) + np.square(patches_ND).sum(axis=1), 0.0) / known_ND.shape[1]
        found.append(float(np.sqrt(nearest_N).mean()) ** 2 / variance)
    return found


def _patches(
    frames_BTHWC: np.ndarray, episodes_B: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return patches of random places, float32 ``[N, D]``, and the episode of each."""
    clips, length, height, width, _ = frames_BTHWC.shape
    side = min(max(LEAST_SIDE, min(height, width) // PARTS), height, width)
    cell = -(-side // CELLS)
    side -= side % cell
    clip, frame, row, column = (
        rng.integers(most, size=count) for most in (clips, length, height - side + 1, width - side + 1)
    )
    places = zip(clip, frame, row, column, strict=True)
    cut = np.stack([frames_BTHWC[b, t, y : y + side, x : x + side] for b, t, y, x in places]).astype(np.float32)
    cells = cut.reshape(count, side // cell, cell, side // cell, cell, -1).mean(axis=(2, 4))
    return cells.reshape(count, -1), episodes_B[clip]
