"""The noise of Crafter's worlds: the floats of ``opensimplex``, many times as fast."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from opensimplex import OpenSimplex, internals

SIDE = 64
"""Tiles of a Crafter world, along x and along y."""
LAYERS = ((8, 3), (3, 15), (3, 5), (0, 15), (0, 5), (6, 7), (1, 8), (2, 6), (6, 5), (4, 9), (5, 7))
"""(z, size) of the noise that Crafter reads at (x / size, y / size, z) for the tiles of a world."""
TUNNELS = (7, 3)
"""The same of the noise that it reads at (2 x, y / 5) and at (x / 5, 2 y)."""
MOST_TERMS = 8
"""Lattice points that contribute to a value of OpenSimplex in three dimensions, at most."""


class FastNoise:
    """OpenSimplex noise in three dimensions: the same floats as ``OpenSimplex.noise3``.

    The seed only decides the gradient of each lattice point. What else the values of a world depend on is computed once
    a process. Other points run the package's function unchanged, except that the gradient lookup reads from lists.
    """

    def __init__(self, seed: int) -> None:
        stock = OpenSimplex(seed=seed)
        self._permutation: list[int] = stock._perm.tolist()
        gradient_index: list[int] = stock._perm_grad_index3.tolist()
        flat: list[int] = internals.GRADIENTS3.tolist()
        self._gradients = [tuple(flat[i : i + 3]) for i in gradient_index]
        self._known = _values(np.array(self._permutation), np.array(self._gradients, np.float64))

    def noise3(self, x: float, y: float, z: float) -> float:
        """Return the noise at a point, in (-1, 1), bit-identical to ``OpenSimplex.noise3``."""
        number = _terms().number_of.get((x, y, z))
        if number is not None:
            return self._known[number]
        return float(_noise3(x, y, z, self._permutation, self._gradients))


class Terms(NamedTuple):
    """What the noise at N points is a sum of: ``weight`` [K, N] times gradient times ``offset`` [K, 3, N], over K."""

    number_of: dict[tuple[float, float, float], int]
    """Point (x, y, z) → its number, from 0 to N - 1."""
    lattice: np.ndarray
    """Lattice point of each term, int64 [K, 3, N]; the rows that a point lacks have weight 0."""
    offset: np.ndarray
    weight: np.ndarray


class _Recorder:
    """Stands for the value of a lattice point while the package's function adds up its terms."""

    def __init__(self) -> None:
        self.terms: list[tuple[float, ...]] = []

    def extrapolate(self, _permutation: None, _gradients: None, *point_and_offset: float) -> _Recorder:
        self.terms.append(point_and_offset)
        return self

    def __rmul__(self, weight: float) -> _Recorder:
        self.terms[-1] = (weight, *self.terms[-1])
        return self

    def __add__(self, _: Any) -> _Recorder:
        return self

    __radd__ = __truediv__ = __add__


def _extrapolate3(
    permutation: list[int],
    gradients: list[tuple[int, int, int]],
    x: int,
    y: int,
    z: int,
    dx: float,
    dy: float,
    dz: float,
) -> float:
    gx, gy, gz = gradients[(permutation[(permutation[x & 0xFF] + y) & 0xFF] + z) & 0xFF]
    return gx * dx + gy * dy + gz * dz


def _noise3_with(extrapolate: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of the package's noise function that uses another gradient lookup."""
    stock = getattr(internals._noise3, "py_func", internals._noise3)  # numba, where present, wraps the function
    return types.FunctionType(stock.__code__, {**vars(internals), "_extrapolate3": extrapolate})


_noise3 = _noise3_with(_extrapolate3)


@lru_cache(maxsize=1)
def _terms() -> Terms:
    recorder = _Recorder()
    record = _noise3_with(recorder.extrapolate)
    tiles = [(x, y) for x in range(SIDE) for y in range(SIDE)]
    points: list[tuple[float, float, float]] = [(x / size, y / size, z) for z, size in LAYERS for x, y in tiles]
    z, size = TUNNELS
    points += [(2 * x / size, y / 5 / size, z) for x, y in tiles] + [(x / 5 / size, 2 * y / size, z) for x, y in tiles]
    index = {point: number for number, point in enumerate(dict.fromkeys(points))}
    rows = np.zeros((len(index), MOST_TERMS, 7))
    for point, number in index.items():
        recorder.terms = []
        record(*point, None, None)
        rows[number, : len(recorder.terms)] = recorder.terms
    table = np.ascontiguousarray(rows.transpose(1, 2, 0))
    return Terms(index, table[:, 1:4].astype(np.int64), table[:, 4:], table[:, 0])


def _values(permutation: np.ndarray, gradients: np.ndarray) -> list[float]:
    """Return the noise at every point of ``_terms``, added up in the order in which the package does."""
    terms, total = _terms(), 0.0
    for (x, y, z), (dx, dy, dz), weight in zip(terms.lattice, terms.offset, terms.weight, strict=True):
        gx, gy, gz = gradients[(permutation[(permutation[x & 0xFF] + y) & 0xFF] + z) & 0xFF].T
        total = total + weight * (gx * dx + gy * dy + gz * dz)
    values: list[float] = (total / internals.NORM_CONSTANT3).tolist()
    return values
