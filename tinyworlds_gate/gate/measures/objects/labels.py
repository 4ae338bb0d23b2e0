"""Score kind and place of the objects that a frames file names (`objects`: kind, x, y).

A generated patch has the kind of the true patch that it is most like, among the patches of all kinds and of none.

Axes: N clips, S generated frames, h x w cells, L labels, 3 colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.compare import MATCHED, SEARCHED
from tinyworlds_gate.gate.measures.objects.scene import Scene

HALF = 3
"""Cells around the middle of a label: a patch of 7 x 7 cells, a ninth of the frame."""
GALLERY = 64
"""True patches of a kind that a generated one is compared with, at most."""
ALIKE = 0.25
"""Share of a kind's patches to which one of another kind is as near as another one of their own: a coin gives half."""
NOTHING = "nothing"


def score_labels(scene: Scene, cells: np.ndarray, labels: np.ndarray, episodes: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each kind: sightings, the share with the right kind and place, what the others became.

    Only labels at places that the context shows count.

    Args:
        cells: float32 [N, S, h, w, 3], the generated frames in the light of the background.
        labels: a table [L] with the fields clip, step, kind (bytes), x and y (pixels, of the middle).
        episodes: int [N].
    """
    height, width = scene.shape[2:]
    row, column = (np.floor(labels[axis] / scene.pixels).astype(int) for axis in ("y", "x"))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    clip, step = labels["clip"], labels["step"]
    inside[inside] = scene.known[clip[inside], step[inside], row[inside], column[inside]]
    clip, step, row, column = (one[inside] for one in (clip, step, row, column))
    names = np.array([one.decode() for one in labels["kind"][inside]])
    pad = ((0, 0), (0, 0), (HALF, HALF), (HALF, HALF), (0, 0))
    true = np.pad(scene.true, pad, mode="edge")
    reach = ((0, 0), (0, 0), *(((HALF + SEARCHED, HALF + SEARCHED),) * 2), (0, 0))
    made = np.pad(cells, reach, mode="edge")
    side = 2 * HALF + 1
    patches = (
        np.stack([true[c, s, y : y + side, x : x + side] for c, s, y, x in zip(clip, step, row, column, strict=True)])
        if len(clip)
        else np.zeros((0, side, side, 3), np.float32)
    )
    gallery = _gallery(scene, true, names, patches, clip, step, row, column)
    alike = _alike(gallery)
    right, distance, became = np.zeros(len(clip), bool), np.full(len(clip), np.nan), names.copy().astype(object)
    span = np.arange(-SEARCHED, SEARCHED + 1)
    far = np.hypot(span[:, None], span[None])
    for number, (c, s, y, x) in enumerate(zip(clip, step, row, column, strict=True)):
        window = made[c, s, y : y + side + 2 * SEARCHED, x : x + side + 2 * SEARCHED]
        here = window[SEARCHED : SEARCHED + side, SEARCHED : SEARCHED + side]
        own = float(np.square(here - patches[number]).sum())
        costs = {name: float(np.square(here - table).sum(axis=(1, 2, 3)).min()) for name, table in gallery.items()}
        costs[names[number]] = min(own, costs[names[number]])
        became[number] = min(costs, key=costs.__getitem__)
        right[number] = became[number] in alike[names[number]]
        if right[number]:
            distance[number] = 0.0
            continue
        views = np.lib.stride_tricks.sliding_window_view(window, (side, side), axis=(0, 1))
        cost = np.square(np.moveaxis(views, 2, -1) - patches[number]).sum(axis=(-3, -2, -1))
        best = np.unravel_index(int(np.argmin(cost)), cost.shape)
        if cost[best] <= MATCHED * own:
            distance[number] = far[best]
    rows = []
    for name in sorted(set(names)):
        of_kind = names == name
        there = distance[of_kind & ~np.isnan(distance)]
        others, counts = np.unique(became[of_kind & ~right].astype(str), return_counts=True)
        rows.append(
            {
                "kind": name,
                "sightings": int(of_kind.sum()),
                "episodes": len(np.unique(episodes[clip[of_kind]])),
                "recall": float(right[of_kind].mean()),
                "place_error": float(there.mean() / max(height, width)) if len(there) else None,
                "became": dict(zip(others.tolist(), counts.tolist(), strict=True)),
            }
        )
    return rows


def _alike(gallery: dict[str, np.ndarray]) -> dict[str, set[str]]:
    """Name → itself and the kinds that look the same: their patches are often nearer than others of its own."""
    flat = {name: table.reshape(len(table), -1) for name, table in gallery.items()}
    alike = {name: {name} for name in flat}
    for name, own in flat.items():
        among = _costs(own, own)
        np.fill_diagonal(among, np.inf)
        for other, table in flat.items():
            if NOTHING not in (name, other) and other != name and len(own) > 1:
                nearer = _costs(own, table).min(axis=1) <= among.min(axis=1)
                if nearer.mean() >= ALIKE:
                    alike[name].add(other)
                    alike[other].add(name)
    return alike


def _costs(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    squares = np.square(own).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    costs: np.ndarray = np.maximum(squares - 2 * own @ other.T, 0)
    return costs


def _gallery(
    scene: Scene,
    true: np.ndarray,
    names: np.ndarray,
    patches: np.ndarray,
    clip: np.ndarray,
    step: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
) -> dict[str, np.ndarray]:
    """Name → true patches; of `nothing` those at a fixed choice of places without a label nearby."""
    generator = np.random.default_rng(0)
    gallery = {}
    for name in sorted(set(names)):
        members = np.flatnonzero(names == name)
        gallery[str(name)] = patches[generator.permutation(members)[:GALLERY]]
    count, steps, height, width = scene.shape
    empty: list[np.ndarray] = []
    for _ in range(20 * GALLERY):
        c, s, y, x = (int(generator.integers(limit)) for limit in (count, steps, height, width))
        same = (clip == c) & (step == s)
        near = (np.abs(row[same] - y) <= HALF) & (np.abs(column[same] - x) <= HALF)
        if scene.known[c, s, y, x] and not near.any():
            empty.append(true[c, s, y : y + 2 * HALF + 1, x : x + 2 * HALF + 1])
        if len(empty) == 4 * GALLERY:
            break
    if empty:
        gallery[NOTHING] = np.stack(empty)
    return gallery
