"""Whether two attempts generated frames of one game, whatever its frames file is named and however it is stored.

Axes: B clips, S generated frames, H height, W width, C colours, D numbers of a code, N frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.reference.data.frame_codes import PROJECTIONS, frame_codes
from tinyworlds_gate.reference.rollout.generated_frames import read_generated

LIKE_EPISODES = 1.6
"""Frames of one game are at most so many times as far from those of another file as from those of other episodes.
Measured: 0.8 to 1.4 between files of one game (day and night in Crafter 1.4), 2.4 and more between games."""
ROUNDED = 1.0
"""Levels by which rounding and compression move a frame."""
_CLIPS, _STEPS = 128, 3


def show_one_game(first: Path, second: Path) -> bool:
    """Return whether the frames that two attempts generated, beside these measures files, show one game.

    False where one of the files is missing or damaged, or names no episodes.
    """
    try:
        one, two = _codes(first), _codes(second)
    except (GateError, MeasuresError, OSError, KeyError, TypeError, ValueError):
        return False
    return _near(one, two) and _near(two, one)


def _codes(measures_file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return codes of generated frames [N, D] and the episode of each [N]."""
    raw = read_raw(measures_file)
    frames = read_generated(measures_file.parent / Path(str(raw["generated_frames"])).name).predicted
    episodes = np.array([int(one["episode"]) for one in raw["clips"]])
    if len(episodes) != len(frames):
        raise ValueError(f"{len(episodes)} clips, {len(frames)} generated")
    clips = np.unique(np.linspace(0, len(frames) - 1, _CLIPS).astype(int))
    steps = np.unique(np.linspace(0, frames.shape[1] - 1, _STEPS).astype(int))
    chosen = frames[clips][:, steps]
    return frame_codes(chosen.reshape(-1, *chosen.shape[2:])), episodes[clips].repeat(len(steps))


def _near(own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> bool:
    """Return whether frames are about as near to the other ones as to those of other episodes of their own."""
    (codes_ND, episode_N), within = own, _distances(own[0], own[0])
    within[episode_N[:, None] == episode_N] = np.inf
    usual = float(np.median(within.min(axis=1)))
    apart = float(np.median(_distances(codes_ND, other[0]).min(axis=1)))
    return apart <= ROUNDED + (LIKE_EPISODES * usual if np.isfinite(usual) else 0.0)


def _distances(codes_ND: np.ndarray, others_ND: np.ndarray) -> np.ndarray:
    """Return the distances of codes in levels, float64 [N, N]."""
    one, two = codes_ND.astype(np.float64), others_ND.astype(np.float64)
    squares = np.square(one).sum(axis=1)[:, None] + np.square(two).sum(axis=1) - 2.0 * one @ two.T
    return np.sqrt(np.maximum(squares, 0.0) / PROJECTIONS)
