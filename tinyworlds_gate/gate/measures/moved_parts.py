"""The last context frame, part by part moved on as it moved before: predictions of scrolling layers and of objects.

Axes: P context frames, S generated frames, L motions, C colours, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.motions import Motions, Region, find_motions, gaussian
from tinyworlds_gate.gate.measures.objects.regions import find_regions

FADES = 1 / 16
"""Over this share of the side what enters a region fades from the region's border to its mean."""
FILL_SIDE = 24
"""What is behind objects is filled on a picture of about this many pixels along a side."""
FILL_SPREADS = (0.7, 1.5, 3.0, 6.0, 12.0)
"""Standard deviations of the surroundings whose mean fills a pixel; a nearer one has more weight."""
WRAPPED = 0.9
"""Share of a region that is the same if its content wraps."""
MOST_OBJECTS, SMALLEST_OBJECT = 8, 4
"""The largest ones are moved on; area in pixels."""
APART = 10
"""Levels by which an object differs from what is behind it."""
MOST_OBJECT_SHARE = 0.6
"""Of the picture; more is no object."""


@dataclass(frozen=True)
class MovedParts:
    """Predictions ``[S, C, H, W]``, uint8.

    In the first three every region stays in its place and its content moves on. What enters is the mean of the region,
    or fades to it from the border, or is what left on the other side. Objects move on over the rest and out of the
    picture; ``bounced``: they turn at its border.
    """

    filled_SCHW: np.ndarray
    fading_SCHW: np.ndarray
    wrapped_SCHW: np.ndarray
    objects_SCHW: np.ndarray
    bounced_SCHW: np.ndarray

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.filled_SCHW, self.fading_SCHW, self.wrapped_SCHW, self.objects_SCHW, self.bounced_SCHW))


def moved_parts(context_PHWC: np.ndarray, steps: int) -> MovedParts | None:
    """Return what uint8 context frames predict where every part moves on as before; None: nothing moves."""
    found = find_motions(context_PHWC)
    if found is None:
        return None
    last = np.ascontiguousarray(context_PHWC[-1].transpose(2, 0, 1))
    before = context_PHWC[-2].transpose(2, 0, 1)
    wraps = all(_wraps(before[:, one.rows, one.columns], last[:, one.rows, one.columns], one) for one in found.regions)
    tables = [np.empty((steps, *last.shape), np.uint8) for _ in range(2 + wraps)]
    for one in found.regions:
        place = (slice(None), one.rows, one.columns)
        _move_region(last[place], _moves(one.speed_2, steps, last.shape[1:]), [table[:, *place] for table in tables])
    filled, fading = tables[:2]
    wrapped = tables[2] if len(tables) > 2 else fading
    if len(found.speed_L2) == 1:
        return MovedParts(filled, fading, wrapped, fading, fading)
    return MovedParts(filled, fading, wrapped, *_moved_objects(last, found, steps))


def _moves(speed_2: np.ndarray, steps: int, size: tuple[int, ...]) -> np.ndarray:
    """Return how far something moved after each step ``[S, 2]``, in whole pixels and at most the picture."""
    after = np.rint(speed_2 * np.arange(1, steps + 1)[:, None])
    moves: np.ndarray = after.clip(-np.array(size), size).astype(int)
    return moves


def _move_region(last_CHW: np.ndarray, moves_S2: np.ndarray, tables: list[np.ndarray]) -> None:
    """Write what a region predicts into the tables ``[S, C, H, W]``: what enters is its mean, fades to it, or wraps."""
    if not moves_S2.any():
        for table in tables:
            table[:] = last_CHW
        return
    sizes = last_CHW.shape[1:]
    mean = last_CHW.mean(axis=(1, 2))[:, None]
    reach = max(1.0, FADES * max(sizes))
    for step, by in enumerate(moves_S2.tolist()):
        places = [np.arange(size) - move for size, move in zip(sizes, by, strict=True)]
        inside = [one.clip(0, size - 1) for one, size in zip(places, sizes, strict=True)]
        edge = last_CHW.take(inside[0], axis=1).take(inside[1], axis=2)
        far = [np.abs(one - other) for one, other in zip(places, inside, strict=True)]
        distance = np.maximum(far[0][:, None], far[1])
        entered = distance > 0
        border = edge[:, entered]
        edge[:, entered] = np.rint(mean)
        tables[0][step] = edge
        edge[:, entered] = np.rint(mean + np.exp(-distance[entered] / reach) * (border - mean))
        tables[1][step] = edge
        for table in tables[2:]:
            table[step] = np.roll(last_CHW, by, axis=(1, 2))


def _wraps(before_CHW: np.ndarray, last_CHW: np.ndarray, region: Region) -> bool:
    """Return whether what left a region since the frame before came in again on its other side."""
    rolled = np.roll(before_CHW, np.rint(region.speed_2).astype(int).tolist(), axis=(1, 2))
    return bool((np.abs(rolled.astype(np.int16) - last_CHW) <= APART).mean() > WRAPPED)


def _moved_objects(last_CHW: np.ndarray, found: Motions, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames on which objects move over the rest, out of the picture or turning at its border."""
    rest = found.part_HW == 0
    behind = _filled(last_CHW, rest)
    apart = np.abs(last_CHW.astype(np.int16) - behind).max(axis=0) > APART
    behind = np.where(rest | ~apart, last_CHW, behind)
    moves_LS2 = [_moves(speed, steps, rest.shape) for speed in found.speed_L2]
    tables = [np.empty((steps, *last_CHW.shape), np.uint8) for _ in range(2)]
    _move_region(behind, moves_LS2[0], tables)
    objects = tables[1]
    masks = np.stack([(found.part_HW == number) & apart for number in range(1, len(moves_LS2))])
    if not 0 < masks.sum() < MOST_OBJECT_SHARE * apart.size:
        return objects, objects
    regions, drawn = find_regions(masks), []
    for one in np.argsort(-regions.area)[:MOST_OBJECTS]:
        if regions.area[one] < SMALLEST_OBJECT:
            break
        number, (top, left) = int(regions.frame[one]), (int(regions.top[one]), int(regions.left[one]))
        place = (slice(top, top + int(regions.height[one])), slice(left, left + int(regions.width[one])))
        shape = regions.labels[number][place] == one + 1
        corners_S2 = np.array([top, left]) + moves_LS2[number + 1]
        drawn.append(
            (last_CHW[:, *place], shape, corners_S2, _reflected(corners_S2, np.subtract(rest.shape, shape.shape)))
        )
    turns = any((straight != turned).any() for *_, straight, turned in drawn)
    bounced = objects.copy() if turns else objects
    for pixels, shape, straight, turned in drawn:
        for step in range(steps):
            _draw(objects[step], pixels, shape, *straight[step].tolist())
            if turns:
                _draw(bounced[step], pixels, shape, *turned[step].tolist())
    return objects, bounced


def _filled(values_CHW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """Return the values where the mask is set, elsewhere the mean of those around, nearer ones with more weight."""
    colours, height, width = values_CHW.shape
    side = max(1, max(height, width) // FILL_SIDE)
    tall, wide = -(-height // side), -(-width // side)
    planes = np.zeros((colours + 1, tall * side, wide * side), np.float32)
    planes[:colours, :height, :width] = np.where(mask_HW, values_CHW, 0)
    planes[colours, :height, :width] = mask_HW
    sums = planes.reshape(colours + 1, tall, side, wide, side).sum(axis=(2, 4))
    around = 1e-6 * np.broadcast_to(sums.mean(axis=(1, 2), keepdims=True), sums.shape)
    for spread in FILL_SPREADS:
        down, across = gaussian(tall, spread), gaussian(wide, spread)
        around += (down @ sums @ across) * np.float32(spread**-4)
    mean = np.rint(around[:colours] / np.maximum(around[colours], 1e-12)).clip(0, 255).astype(np.uint8)
    mean = mean.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]
    return np.where(mask_HW, values_CHW, mean)


def _reflected(corners_S2: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return the places of an object that turns at the border; ``most`` is the largest coordinate of its corner."""
    double = np.maximum(2 * most, 1)
    turned = corners_S2 % double
    return np.where(most > 0, np.minimum(turned, double - turned), 0)


def _draw(frame_CHW: np.ndarray, pixels_Chw: np.ndarray, shape_hw: np.ndarray, top: int, left: int) -> None:
    """Draw an object where it lies inside the frame."""
    (tall, wide), (height, width) = shape_hw.shape, frame_CHW.shape[1:]
    rows, columns = slice(max(0, -top), height - top), slice(max(0, -left), width - left)
    if rows.start < min(tall, rows.stop) and columns.start < min(wide, columns.stop):
        place = frame_CHW[:, max(0, top) : top + tall, max(0, left) : left + wide]
        np.copyto(place, pixels_Chw[:, rows, columns], where=shape_hw[rows, columns])
