"""Counts of healthy and faulty models, without frames: objects that bounce about, and which sightings a model loses.

    python -m tests.helpers.object_losses --seeds 100 --jobs 2   # the sets of healthy models that fail

Axes: N clips, T steps, K objects.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.identity import identity_row
from tinyworlds_gate.gate.measures.objects.slices import GRID, Occasions, slice_rows
from tinyworlds_gate.gate.slice_rule import slice_faults

STEPS = 12
KINDS = 2
Model = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
"""From the places [N, T, K, 2], as shares of the frame, and the bounces [N, T, K]: what it loses, bool [N, T, K]."""


def paths(rng: np.random.Generator, clips: int, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of objects that move straight ahead and bounce off the edges, and when they bounce."""
    begin = rng.random((clips, 1, objects, 2))
    speed = rng.uniform(0.01, 0.05, (clips, 1, objects, 2)) * rng.choice([-1, 1], (clips, 1, objects, 2))
    run = begin + speed * np.arange(STEPS + 1)[None, :, None, None]
    crossed = np.floor(run).astype(int)
    return (1 - np.abs(run % 2 - 1))[:, 1:], (np.diff(crossed, axis=1) != 0).any(axis=-1)


def _at_random(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    return rng.random(bounces.shape) < 0.08


def _later_more(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    return rng.random(bounces.shape) < np.linspace(0, 0.18, STEPS)[:, None]


def _late_step(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    return rng.random(bounces.shape) < np.where(np.arange(STEPS) < 8, 0.02, 0.2)[:, None]


def _for_good(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    begins = rng.random(bounces.shape) < 0.013
    return np.logical_or.accumulate(begins, axis=1)


def _throughout(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    return np.broadcast_to(rng.random((len(places), 1, bounces.shape[2])) < 0.07, bounces.shape)


def _at_bounces(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    return np.logical_or.accumulate(bounces & (rng.random(bounces.shape) < 0.2), axis=1)


def _at_edges(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
    outer = (np.abs(places - 0.5) > 0.5 - 1 / GRID).any(axis=-1)
    return rng.random(bounces.shape) < np.where(outer, 0.17, 0.02)


HEALTHY: dict[str, Model] = {
    "8 % at random": _at_random,
    "2 % to 18 %, growing with the step": _later_more,
    "2 %, from step 9 on 20 %": _late_step,
    "lost for good at a random step": _for_good,
    "7 % lost in the whole clip": _throughout,
    "a fifth of the bounces, for good": _at_bounces,
    "17 % at the edges, 2 % elsewhere": _at_edges,
}


def occasions(places: np.ndarray, lost: np.ndarray, *, per_episode: int = 1) -> Occasions:
    """Return the sightings of one model; objects alternate between the kinds."""
    clip, step, which = np.indices(lost.shape).reshape(3, -1)
    row, column = np.minimum((places * GRID).astype(int), GRID - 1).reshape(-1, 2).T
    groups = [which % KINDS] if lost.shape[2] > 1 else [np.zeros_like(which)]
    return Occasions(clip // per_episode, step, row * GRID + column, ~lost.ravel(), groups)


NAMES = [[{"colour": colour, "height_px": 5, "width_px": 5} for colour in ("#ff0000", "#0000ff")]]
SETS = ((8, 3, 1), (12, 2, 1), (24, 4, 2), (64, 3, 1), (64, 12, 2))
"""Clips, objects, and clips of one episode."""


def faults(seed: int, model: Model, clips: int, objects: int, per_episode: int) -> list[str]:
    """Return what the rules of slices and of single objects say about one set of clips of a model."""
    rng = np.random.default_rng([seed, clips])
    places, bounces = paths(rng, clips, objects)
    lost = model(rng, places, bounces)
    rows: list[dict[str, Any]] = slice_rows(occasions(places, lost, per_episode=per_episode), NAMES, 12, (64, 64))
    shown = np.full(lost.shape[:2], float(objects))
    single = identity_row(lost.sum(axis=2).astype(float), shown, np.arange(clips) // per_episode)
    rows += [single] if single else []
    return list(slice_faults({"slices": [{"of": "recall"} | row for row in rows]}, "recall"))


def _failing_sets(name: str, seed: int) -> list[str]:
    return [f"{name}, seed {seed}, {one}: {found}" for one in SETS for found in faults(seed, HEALTHY[name], *one)[:1]]


def main() -> None:
    """Count the sets of clips of healthy models that fail."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="of each model and set (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    cases = [(name, seed) for name in HEALTHY for seed in range(args.seeds)]
    with ProcessPoolExecutor(args.jobs) as pool:
        failing = [line for lines in pool.map(_failing_sets, *zip(*cases, strict=True), chunksize=5) for line in lines]
    print(*failing, f"{len(failing)} of {len(cases) * len(SETS)} sets fail", sep="\n")


if __name__ == "__main__":
    main()
