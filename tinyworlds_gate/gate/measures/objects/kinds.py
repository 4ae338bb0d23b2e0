"""Group the true objects by size and colour, so that a failure can name which of them are lost.

Axes: N clips, S generated frames, h x w cells, R objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import norm
from tinyworlds_gate.gate.measures.objects.scene import Scene

COLOUR_APART = 48.0
"""Levels (Euclidean) between the colours of two kinds."""
SIZE_APART = 2.0
"""Factor between the areas of two kinds."""
MOST_KINDS = 24


@dataclass(frozen=True)
class Kinds:
    """Kind of each object [R] as a place in ``found``, -1 for none of them."""

    number: np.ndarray
    found: list[dict[str, Any]]


def find_kinds(scene: Scene) -> Kinds:
    """Group the objects; the most distinct ones are the first members of a group."""
    objects, height, width = scene.objects, *scene.shape[2:]
    flat = (-1, height, width)
    weight = np.square(norm(scene.true - scene.background)).reshape(flat)
    total = objects.total(weight)
    colours = [objects.total(weight * scene.true[..., c].reshape(flat)) / total for c in range(3)]
    features = np.stack([*(one / COLOUR_APART for one in colours), np.log(objects.area) / np.log(SIZE_APART)], axis=1)
    number = np.full(len(objects), -1)
    leaders: list[int] = []
    for one in np.argsort(-total):
        if leaders:
            apart = np.abs(features[leaders] - features[one])
            distance = np.maximum(np.sqrt(np.square(apart[:, :3]).sum(axis=1)), apart[:, 3])
            nearest = int(np.argmin(distance))
            if distance[nearest] <= 1:
                number[one] = nearest
                continue
        if len(leaders) < MOST_KINDS:
            number[one] = len(leaders)
            leaders.append(int(one))
    return Kinds(number, [_describe(scene, number == kind, colours) for kind in range(len(leaders))])


def _describe(scene: Scene, members: np.ndarray, colours: list[np.ndarray]) -> dict[str, Any]:
    objects = scene.objects
    colour = [int(np.clip(np.median(one[members]), 0, 255)) for one in colours]
    return {
        "colour": "#{:02x}{:02x}{:02x}".format(*colour),
        "height_px": int(np.median(objects.height[members])) * scene.pixels,
        "width_px": int(np.median(objects.width[members])) * scene.pixels,
    }
