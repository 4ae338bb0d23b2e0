"""Compare generated frames with a scene: which objects are found, which are missing, and what is there too much.

Axes: N clips, S generated frames, h x w cells, R true objects, E differing regions, 3 colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.objects.background import middle_frame
from tinyworlds_gate.gate.measures.objects.cells import blur, in_light_of, neighbours, norm
from tinyworlds_gate.gate.measures.objects.regions import Regions, find_regions
from tinyworlds_gate.gate.measures.objects.scene import LEAST_AREA, NOISE, OBJECT_CONTRAST, Scene, noise_of
from tinyworlds_gate.gate.measures.objects.scene import beside as with_neighbours

FOUND = 0.75
"""An object is found if at most a quarter of what erasing it costs (squared error) remains: half of its contrast."""
TOLERATED = 7.5
"""Levels by which a faint object may differ besides: frames 8 levels brighter differ by so much where they are dark."""
BLURS = (0.0, 0.5, 1.0, 1.5)
"""Cells by which the true frames are blurred, whichever fits the generated frames of a step best."""
CAPPED = 30.0
"""Levels beyond which a difference does not count for the choice of the blur."""
GENERATED_NOISE = 6.0
ALWAYS = 3.0
"""Times the usual difference at a place of the screen, over all clips: what a lossy picture format does to a border.
No more than the contrast of an object, which may be wrong at the same place in all clips."""
SMALLEST_MASS = 0.1
"""Of the squared contrast of the faintest tenth of the true objects: what deviates less in all is no object."""
HUE = 20.0
"""Levels by which the mean colour of an object may be off, beside being fainter; JPEG of quality 75 makes up to 16."""
HUE_SHARE = 0.2
"""Share of its mean contrast by which it may be off in any case."""
SEARCHED = 10
"""Cells around its place in which a missing object is searched: about a sixth of the frame."""
MATCHED = 0.5
"""Share of an object's squared contrast by which what is found elsewhere, or in its place, may differ from it."""
CHANGED = 0.25
"""Share of its squared contrast with which something else stands in an object's place."""
RING = 3

MISSING, DISPLACED, REPLACED = "missing", "displaced", "replaced"


@dataclass(frozen=True)
class Comparison:
    """What became of the objects: true ones [R], and the regions [E] where something stands that should not."""

    found: np.ndarray
    """bool [R]."""
    fate: np.ndarray
    """str [R]: why an object is not found; empty where it is."""
    distance: np.ndarray
    """float [R]: how far it lies from its place, in cells; NaN where it is not there."""
    extra: Regions
    """Small things in the generated frames that the true frames do not show."""
    left_behind: np.ndarray
    """bool [E]: they stand where the last context frame has them."""
    erased: Regions
    """Small things of the background that the generated frames do not show."""
    shown: Regions
    """The objects of the generated frames, found as those of the true frames are."""
    cells: np.ndarray
    """float32 [N, S, h, w, 3]: the generated frames in the light of the background."""
    true: np.ndarray
    """float32 [N, S, h, w, 3]: the true frames, as blurred as the generated ones."""
    background: np.ndarray
    """float32 [N, S, h, w, 3], as blurred."""
    differing: np.ndarray
    """bool [N, S, h, w]: where a generated cell is outside what the true cells around it span."""


def compare(scene: Scene, raw: np.ndarray) -> Comparison:
    """Compare generated frames, float32 [N, S, h, w, 3], with the scene."""
    true, background, cells = _as_blurred(scene, raw)
    flat = (-1, *scene.shape[2:])
    off_true = np.square(norm(cells - true)).reshape(flat)
    off_background = np.square(norm(cells - background)).reshape(flat)
    contrast = np.square(norm(true - background)).reshape(flat)
    objects = scene.objects
    erasing = objects.total(contrast)
    wanted, made = true - background, cells - background
    found = objects.total(off_true) <= _allowed(objects, erasing)
    beside = _found_beside(objects, ~found, _allowed(objects, erasing), wanted, made)
    found &= ~_is_recoloured(*(_mean_contrast(objects, one) for one in (wanted, made)))
    found |= beside > 0
    differing = _differing(scene, cells, true)
    regions = find_regions(differing.reshape(flat))
    mass = regions.total(off_true)
    least = SMALLEST_MASS * np.quantile(erasing, 0.1) if len(objects) else np.inf
    high = regions.highest(np.sqrt(np.minimum(off_background, off_true))) > OBJECT_CONTRAST
    thick = (regions.height > 1) & (regions.width > 1) & (regions.area >= LEAST_AREA)
    other = (regions.total(off_background) >= mass / 2) & (mass >= CHANGED * regions.total(contrast))
    whole = regions.total(with_neighbours(~scene.known).reshape(flat)) == 0
    regions = regions.only(scene.small(regions) & high & thick & other & whole & (mass >= least))
    erased = _is_erased(regions, true.reshape(*flat, 3), cells.reshape(*flat, 3), contrast)
    extra = regions.only(~erased)
    off_last = np.square(norm(cells - scene.last)).reshape(flat)
    left_behind = extra.total(off_last) < CHANGED * extra.total(off_true)
    unexplained = np.where(differing[..., None], made, 0)
    fate, distance = _fates(scene, found, wanted, unexplained, off_background)
    distance[beside > 0] = beside[beside > 0]
    shown = _shown(scene, cells, background)
    return Comparison(
        found, fate, distance, extra, left_behind, regions.only(erased), shown, cells, true, background, differing
    )


def _shown(scene: Scene, cells: np.ndarray, background: np.ndarray) -> Regions:
    deviation = norm(cells - background) * scene.judged
    flat = deviation.reshape(-1, *scene.shape[2:])
    above = deviation > np.maximum(scene.threshold, NOISE * noise_of(deviation))
    return scene.only_objects(find_regions(above.reshape(flat.shape)), flat)


def found_objects(scene: Scene, cells: np.ndarray) -> np.ndarray:
    """Return which true objects a sharp prediction shows in their place, or a cell beside it, bool [R]."""
    flat, objects = (-1, *scene.shape[2:]), scene.objects
    wanted, made = scene.true - scene.background, cells - scene.background
    allowed = _allowed(objects, objects.total(np.square(norm(wanted)).reshape(flat)))
    found: np.ndarray = objects.total(np.square(norm(cells - scene.true)).reshape(flat)) <= allowed
    return found | (_found_beside(objects, ~found, allowed, wanted, made) > 0)


def _allowed(objects: Regions, erasing: np.ndarray) -> np.ndarray:
    """Return the squared error that an object may have, [R]; ``erasing`` is what it costs to leave it out."""
    allowed: np.ndarray = (1 - FOUND) * erasing + objects.area * TOLERATED**2
    return allowed


def _found_beside(
    objects: Regions, sought: np.ndarray, allowed: np.ndarray, wanted: np.ndarray, made: np.ndarray
) -> np.ndarray:
    """Return how far beside its place each sought object is found, in cells [R]: 1 or the root of 2, 0 if it is not.

    ``wanted`` and ``made`` are the true and the generated deviations from the background, [N, S, h, w, 3].
    """
    height, width = wanted.shape[2:4]
    wanted = wanted.reshape(-1, height, width, 3)
    around = np.pad(made.reshape(-1, height, width, 3), ((0, 0), (1, 1), (1, 1), (0, 0)))
    span = np.arange(-1, 2)
    far, distance = np.hypot(span[:, None], span[None]), np.zeros(len(objects))
    for number in np.flatnonzero(sought).tolist():
        patch, views = _views(objects, number, wanted, around, 1)
        cost = np.where(far > 0, np.square(views - patch).sum(axis=(-2, -1)), np.inf)
        best = np.unravel_index(int(np.argmin(cost)), cost.shape)
        of_other_colour = _is_recoloured(patch.mean(axis=0)[None], views[best].mean(axis=0)[None])[0]
        if cost[best] <= allowed[number] and not of_other_colour:
            distance[number] = far[best]
    return distance


def _mean_contrast(objects: Regions, deviation: np.ndarray) -> np.ndarray:
    """Return the mean deviation from the background over each object, [R, 3]; ``deviation`` is [N, S, h, w, 3]."""
    flat = (-1, *deviation.shape[2:4])
    total = [objects.total(deviation[..., colour].reshape(flat)) for colour in range(3)]
    return np.stack(total, axis=1) / np.maximum(objects.area, 1)[:, None]


def _is_recoloured(wanted: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Return whether the mean contrast [R, 3] of objects has another direction: blur makes it smaller only."""
    size = norm(wanted)
    direction = wanted / np.maximum(size, 1e-9)[:, None]
    off = made - wanted
    aside = norm(off - (off * direction).sum(axis=1, keepdims=True) * direction)
    is_other: np.ndarray = aside > np.maximum(HUE, HUE_SHARE * size)
    return is_other


def _views(
    objects: Regions, number: int, wanted: np.ndarray, around: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return an object's values [P, 3], and those of ``around`` at all displacements [2 r + 1, 2 r + 1, P, 3].

    ``around`` has a margin of ``reach`` cells.
    """
    frame, top, left = objects.frame[number], objects.top[number], objects.left[number]
    high, wide = objects.height[number], objects.width[number]
    inside = objects.labels[frame, top : top + high, left : left + wide] == number + 1
    window = around[frame, top : top + high + 2 * reach, left : left + wide + 2 * reach]
    views = np.lib.stride_tricks.sliding_window_view(window, (high, wide), axis=(0, 1))
    views = np.moveaxis(views, 2, -1)[:, :, inside]
    return wanted[frame, top : top + high, left : left + wide][inside], views


def _as_blurred(scene: Scene, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The true frames and the background, as blurred as the generated frames of each step, and these in its light."""
    true, background, cells = scene.true.copy(), scene.background.copy(), in_light_of(raw, scene.background)
    clean = _without_noise(scene)
    for step in range(scene.shape[1]):
        costs = []
        for sigma in BLURS:
            off = np.minimum(norm(cells[:, step] - blur(clean[:, step], sigma)), CAPPED)
            costs.append(float(np.square(off)[scene.known[:, step]].sum()))
        best = BLURS[int(np.argmin(costs))]
        if best:
            true[:, step], background[:, step] = blur(true[:, step], best), blur(background[:, step], best)
            cells[:, step] = in_light_of(raw[:, step], background[:, step])
    return true, background, cells


def _without_noise(scene: Scene) -> np.ndarray:
    """The background with what differs from it: noise in the true frames would make a blur fit every clean frame."""
    clear = (norm(scene.true - scene.background) > scene.threshold)[..., None]
    return np.where(neighbours(neighbours(clear, np.maximum), np.maximum), scene.true, scene.background)


def _differing(scene: Scene, cells: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Where a generated cell is outside what the true cells around it span, bool [N, S, h, w]."""
    low, high = neighbours(true, np.minimum), neighbours(true, np.maximum)
    outside = norm(np.maximum(np.maximum(low - cells, cells - high), 0)) * scene.known
    always = np.minimum(ALWAYS * middle_frame(outside.reshape(-1, *scene.shape[2:])), OBJECT_CONTRAST)
    return outside > np.maximum(np.maximum(scene.threshold, always), GENERATED_NOISE * noise_of(outside))


def _is_erased(regions: Regions, true: np.ndarray, cells: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Which regions are a thing of the background that is gone: it stood out from its surroundings, bool [E]."""
    erased = np.zeros(len(regions), bool)
    still = regions.total(contrast) < CHANGED * regions.area * OBJECT_CONTRAST**2
    for number in np.flatnonzero(still):
        frame, top, left = regions.frame[number], regions.top[number], regions.left[number]
        window = (
            frame,
            slice(max(0, top - RING), top + regions.height[number] + RING),
            slice(max(0, left - RING), left + regions.width[number] + RING),
        )
        inside = regions.labels[window] == number + 1
        if inside.all():
            continue
        stands_out = [
            float(norm(one[window][inside] - np.median(one[window][~inside], axis=0)).mean()) for one in (true, cells)
        ]
        erased[number] = stands_out[0] > stands_out[1]
    return erased


def _fates(
    scene: Scene, found: np.ndarray, wanted: np.ndarray, unexplained: np.ndarray, off_background: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    objects = scene.objects
    fate, distance = np.where(found, "", MISSING).astype("<U9"), np.where(found, 0.0, np.nan)
    height, width = scene.shape[2:]
    wanted = wanted.reshape(-1, height, width, 3)
    pad = ((0, 0), (SEARCHED, SEARCHED), (SEARCHED, SEARCHED), (0, 0))
    around = np.pad(unexplained.reshape(-1, height, width, 3), pad)
    shown = objects.total(off_background)
    span = np.arange(-SEARCHED, SEARCHED + 1)
    far = np.hypot(span[:, None], span[None])
    for number in np.flatnonzero(~found).tolist():
        patch, views = _views(objects, number, wanted, around, SEARCHED)
        cost = np.square(views - patch).sum(axis=(-2, -1)) / np.square(patch).sum()
        best = np.unravel_index(int(np.argmin(cost + 1e-3 * far)), cost.shape)
        if cost[best] <= MATCHED and far[best] >= 1:
            fate[number], distance[number] = DISPLACED, far[best]
        elif shown[number] >= CHANGED * np.square(patch).sum():
            fate[number] = REPLACED
    return fate, distance
