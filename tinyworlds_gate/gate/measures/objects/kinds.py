"""Group the true objects by size and colour, so that a failure can name which of them are lost.

Axes: N clips, S generated frames, h x w cells, R objects, K kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import norm
from tinyworlds_gate.gate.measures.objects.regions import Regions
from tinyworlds_gate.gate.measures.objects.scene import Scene

COLOUR_APART = 48.0
"""Levels (Euclidean) between the colours of two kinds."""
SIZE_APART = 2.0
"""Factor between the areas of two kinds."""
MOST_KINDS = 24
SIZE = ("height_px", "width_px")
FAMILIES = (((1, 1, 1, 1), ("colour", *SIZE)), ((1, 1, 1, 0), ("colour",)), ((0, 0, 0, 1), SIZE))
"""Weights of the features, and what names a kind."""


@dataclass(frozen=True)
class Kinds:
    """Kind of each object [R] as a place in ``found``, -1 for none of them."""

    number: np.ndarray
    found: list[dict[str, Any]]
    leaders: np.ndarray
    """float [K, 4]: the colour and the size by which each kind is recognised."""
    weight: Sequence[float] = (1, 1, 1, 1)
    """Of each feature: 0 for what does not count."""

    def of(self, features: np.ndarray) -> np.ndarray:
        """Return the kind of each region [E, 4], int [E]; -1 for none of them."""
        if not len(self.leaders) or not len(features):
            return np.full(len(features), -1)
        distance = _apart(self.leaders[None], (features * np.array(self.weight))[:, None])
        nearest = distance.argmin(axis=1)
        return np.where(distance.min(axis=1) <= 1, nearest, -1)


def find_kinds(scene: Scene) -> Kinds:
    """Group the objects by size and colour; the most distinct ones are the first members of a group."""
    return next(find_families(scene))


def find_families(scene: Scene) -> Iterator[Kinds]:
    """Yield the kinds of the objects by size and colour, then by colour alone and by size alone."""
    objects = scene.objects
    total, colours = colours_of(objects, scene.true, scene.background)
    features = features_of(objects, colours)
    for weight, names in FAMILIES:
        weighted = features * np.array(weight)
        number, leaders = group(weighted, total)
        described = [describe_kind(scene.pixels, objects, number == kind, colours) for kind in range(len(leaders))]
        found = [{name: kind[name] for name in names} for kind in described]
        yield Kinds(number, found, weighted[leaders], weight)


def group(features: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the group of each region, -1 for none, and the first member of each group; heavy ones come first."""
    number = np.full(len(features), -1)
    leaders: list[int] = []
    for one in np.argsort(-weight):
        if leaders:
            distance = _apart(features[leaders], features[one])
            nearest = int(np.argmin(distance))
            if distance[nearest] <= 1:
                number[one] = nearest
                continue
        if len(leaders) < MOST_KINDS:
            number[one] = len(leaders)
            leaders.append(int(one))
    return number, leaders


def colours_of(regions: Regions, frames: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared contrast of each region [R] and its colour [R, 3]; frames [N, S, h, w, 3]."""
    flat = (-1, *frames.shape[2:4])
    weight = np.square(norm(frames - background)).reshape(flat)
    total = regions.total(weight)
    colours = [regions.total(weight * frames[..., c].reshape(flat)) / np.maximum(total, 1e-9) for c in range(3)]
    return total, np.stack(colours, axis=1)


def features_of(regions: Regions, colours: np.ndarray) -> np.ndarray:
    """Return colour and size of each region, scaled so that two kinds are one apart, [R, 4]."""
    return np.concatenate([colours / COLOUR_APART, np.log(regions.area)[:, None] / np.log(SIZE_APART)], axis=1)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    apart = np.abs(one - other)
    return np.maximum(np.sqrt(np.square(apart[..., :3]).sum(axis=-1)), apart[..., 3])


def describe_kind(pixels: int, regions: Regions, members: np.ndarray, colours: np.ndarray) -> dict[str, Any]:
    """Return the colour and the size in pixels of a group of regions."""
    colour = [int(np.clip(np.median(one), 0, 255)) for one in colours[members].T]
    return {
        "colour": "#{:02x}{:02x}{:02x}".format(*colour),
        "height_px": int(np.median(regions.height[members])) * pixels,
        "width_px": int(np.median(regions.width[members])) * pixels,
    }
