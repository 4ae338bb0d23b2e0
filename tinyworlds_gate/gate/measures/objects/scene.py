"""The true frames of the clips, their background and their objects, on the grid of cells.

Axes: N clips, F = C + S frames, C context frames, S generated frames, h x w cells, R objects, 3 colours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinyworlds_gate.gate.measures.objects.background import find_background, fixed_to_screen, middle_frame, scrolled_by
from tinyworlds_gate.gate.measures.objects.cells import area_median, blur, in_light_of, norm, share_of_cells, to_cells
from tinyworlds_gate.gate.measures.objects.regions import Regions, find_regions

LEAST_CONTRAST = 6.0
"""Levels (Euclidean over the colours, after the blur) from which a cell differs from its background."""
OBJECT_CONTRAST = 30.0
"""Levels that an object reaches somewhere: a lossy picture format changes the border of a frame by up to 25."""
NOISE = 4.0
"""Times the usual deviation around a place: what deviates everywhere is noise, no object."""
LARGEST_AREA = 0.2
"""Share of the frame that an object covers, at most, with the border that the blur gives it; its length is free."""
LEAST_AREA = 5
"""Cells; the blur spreads a single pixel over more."""


MOSTLY = 0.99
"""Share of a cell's pixels."""


@dataclass(frozen=True)
class Scene:
    """What the generated frames are compared with."""

    true: np.ndarray
    """float32 [N, S, h, w, 3], in the light of the background."""
    background: np.ndarray
    """float32 [N, S, h, w, 3]."""
    last: np.ndarray
    """float32 [N, S, h, w, 3]: the last context frame, scrolled with the background."""
    known: np.ndarray
    """bool [N, S, h, w]: the context shows what stands here."""
    judged: np.ndarray
    """bool [N, S, h, w]: known, and not fixed to the screen while the rest scrolls."""
    threshold: np.ndarray
    """float [N, 1, h, w]: deviations above it are no noise."""
    objects: Regions
    """In frames ``clip * S + step``."""
    context: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Of the last two context frames [N, 2, ...]: the frames, their background, how far it has scrolled, in cells."""
    offsets: np.ndarray
    """float [N, S, 2]: how far the background has scrolled since the last context frame, in cells."""
    pixels: int
    """Side of a cell."""
    screen: np.ndarray
    """bool [h, w]: seldom changes while the background scrolls."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, S, h, w."""
        return self.known.shape

    @property
    def scrolls(self) -> np.ndarray:
        """Which clips have a background that scrolls, bool [N]."""
        offsets = np.concatenate([self.context[2], self.offsets], axis=1)
        return np.abs(offsets).max(axis=(1, 2)) > 0

    def only_objects(self, regions: Regions, deviation: np.ndarray) -> Regions:
        """Return the regions that are objects: small, distinct, and wholly at places that are judged.

        ``deviation`` float [N * S, h, w]: how far the frames are from the background.
        """
        whole = regions.total(beside(~self.judged).reshape(deviation.shape)) == 0
        distinct = regions.highest(deviation) > OBJECT_CONTRAST
        return regions.only(self.small(regions) & whole & distinct & (regions.area >= LEAST_AREA))

    def small(self, regions: Regions) -> np.ndarray:
        """Return which regions are no larger than an object, bool [R]."""
        height, width = self.shape[2:]
        return regions.area <= LARGEST_AREA * height * width


def noise_of(deviation: np.ndarray) -> np.ndarray:
    """Return the usual deviation around each place, [N, 1, h, w], of deviations [N, F, h, w].

    It is a median over areas and frames: an object, even one that stays, is smaller.
    """
    areas = area_median(deviation[..., None].astype(np.float32))[..., 0]
    middle = (areas.shape[1] - 1) // 2
    return np.nan_to_num(np.partition(areas, middle, axis=1)[:, middle])[:, None]


def see(context: np.ndarray, true: np.ndarray) -> Scene:
    """Find background and objects of the true frames.

    Args:
        context: uint8 [N, C, H, W, 3].
        true: uint8 [N, S, H, W, 3].
    """
    count = context.shape[1]
    clips = [np.concatenate(pair) for pair in zip(context, true, strict=True)]
    of_all = middle_frame(np.stack([middle_frame(clip) for clip in clips]))
    scrolled = scrolled_by(clips)
    screen = fixed_to_screen(clips, scrolled)
    found = [_see_clip(clip, count, of_all, one, screen) for clip, one in zip(clips, scrolled, strict=True)]
    frames, background, known, judged, offsets = (np.stack(one) for one in zip(*found, strict=True))
    frames = in_light_of(frames, background)
    deviation = norm(frames - background) * judged
    threshold = np.maximum(LEAST_CONTRAST, NOISE * noise_of(deviation))
    deviation, judged = deviation[:, count:], judged[:, count:]
    height, width = judged.shape[2:]
    regions = find_regions((deviation > threshold).reshape(-1, height, width))
    offsets = (offsets - offsets[:, count - 1 : count]) / (true.shape[2] / height)
    scene = Scene(
        true=frames[:, count:],
        background=background[:, count:],
        last=_scrolled(frames[:, count - 1], offsets[:, count:]),
        known=known[:, count:],
        judged=judged,
        threshold=threshold,
        objects=regions,
        context=(frames[:, max(0, count - 2) : count], background[:, max(0, count - 2) : count], offsets[:, :count]),
        offsets=offsets[:, count:],
        pixels=round(true.shape[2] / height),
        screen=share_of_cells(screen) > MOSTLY,
    )
    return replace(scene, objects=scene.only_objects(regions, deviation.reshape(-1, height, width)))


def _see_clip(
    frames: np.ndarray, context: int, of_all: np.ndarray, scrolled: np.ndarray, screen: np.ndarray
) -> tuple[np.ndarray, ...]:
    found = find_background(frames, context, of_all, scrolled, screen)
    known = share_of_cells(found.known) > MOSTLY
    judged = known & (share_of_cells(found.fixed) < 0.5)
    return blur(to_cells(frames)), blur(to_cells(found.frames)), known, judged, found.offsets


def beside(mask: np.ndarray) -> np.ndarray:
    """Return a mask [..., h, w] with its neighbours by a side; what lies outside the frame is none."""
    wider = mask.copy()
    wider[..., 1:, :] |= mask[..., :-1, :]
    wider[..., :-1, :] |= mask[..., 1:, :]
    wider[..., :, 1:] |= mask[..., :, :-1]
    wider[..., :, :-1] |= mask[..., :, 1:]
    return wider


def _scrolled(frames: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """One frame a clip [N, h, w, 3], moved by the offsets [N, S, 2]; edges are repeated."""
    height, width = frames.shape[1:3]
    rows = np.clip(np.arange(height) - np.rint(offsets[..., :1]).astype(int), 0, height - 1)
    columns = np.clip(np.arange(width) - np.rint(offsets[..., 1:]).astype(int), 0, width - 1)
    clip = np.arange(len(frames))[:, None, None, None]
    return frames[clip, rows[..., :, None], columns[..., None, :]]
