"""What a model's frames of Pong and MiniGrid are worth to a player: is the ball in its place, is every cell right?

A run's files hold the frames that its model generated (`measures_NN.json`, `measures_NN_frames.h5`), a game's frames
file the true ones with the places of the objects. Axes: N clips, T steps, H rows, W columns.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

BALL_WITHIN = 4 / 160
"""Largest distance of the ball from its place, as a share of the frame's side."""
BALL_LEAST = 88
"""Least darkest channel of a ball's pixel over that of the frame's median, of 255 levels; paddles have 75."""
CELLS = 8
"""MiniGrid's rooms have this many cells along a side."""
CELL_LEVELS = 12.0
"""Largest mean difference of a right cell, of 255 levels."""


def ball_places(frames: np.ndarray) -> np.ndarray:
    """Return column and row of the brightest colourless spot of frames ``[..., H, W, 3]``, or NaN: ``[..., 2]``."""
    light = frames.min(axis=-1).astype(float)
    light -= np.median(light, axis=(-2, -1), keepdims=True)
    weight = np.where(light >= BALL_LEAST, light, 0.0)
    total = weight.sum(axis=(-2, -1))
    rows, columns = np.indices(frames.shape[-3:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([(weight * one).sum(axis=(-2, -1)) / total for one in (columns, rows)], axis=-1)


def ball_share(generated: np.ndarray, true: np.ndarray) -> list[float]:
    """Return, by step, the share of frames ``[N, T, H, W, 3]`` whose ball is in its place, of those that have one."""
    places, wanted = ball_places(generated), ball_places(true)
    shown = np.isfinite(wanted[..., 0])
    near = np.linalg.norm(places - wanted, axis=-1) <= BALL_WITHIN * true.shape[-2]
    return [float(near[:, step][shown[:, step]].mean()) for step in range(true.shape[1])]


def cells_share(generated: np.ndarray, true: np.ndarray) -> list[float]:
    """Return, for each step, the share of frames ``[N, T, H, W, 3]`` of which every cell is right."""
    side = true.shape[-2] // CELLS
    error = np.abs(generated.astype(float) - true).mean(axis=-1)
    n, t = error.shape[:2]
    cells = error.reshape(n, t, CELLS, side, CELLS, side).mean(axis=(3, 5))
    return [float(share) for share in (cells <= CELL_LEVELS).all(axis=(2, 3)).mean(axis=0)]


TARGETS = {"pong": ("ball in its place", ball_share), "minigrid": ("every cell right", cells_share)}


def clip_frames(run: Path, data: Path, attempt: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the generated and the true frames ``[N, T, H, W, 3]`` of an attempt, and the last context frames."""
    measures: dict[str, Any] = json.loads((run / f"measures_{attempt:02d}.json").read_text(encoding="utf-8"))
    with h5py.File(run / f"measures_{attempt:02d}_frames.h5") as file:
        generated = file["predicted"][:]
    begin = np.array([clip["start"] for clip in measures["clips"]]) + measures["context"]
    with h5py.File(data) as file:
        frames = file["frames"]
        true = np.stack([frames[at : at + measures["generation_steps"]] for at in begin])
        last = np.stack([frames[at - 1] for at in begin])
    return generated, true, last


def outcome(game: str, run: Path, data: Path, attempt: int = 1) -> dict[str, Any]:
    """Return the model's figures by step, and those of copying the last frame."""
    generated, true, last = clip_frames(run, data, attempt)
    error = ((generated.astype(float) - true) ** 2).mean(axis=(0, 2, 3, 4)) / 255**2
    found: dict[str, Any] = {"mse_by_step": [float(one) for one in error], "clips": len(true)}
    if game in TARGETS:
        name, share = TARGETS[game]
        found[name] = share(generated, true)
        found[f"{name}, copying"] = share(np.broadcast_to(last[:, None], true.shape), true)
    return found
