"""Defects of stated numbers that the harness computes itself."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import SCALED, child
from tinyworlds_gate.power.world import EPISODE_FRAMES, EPISODES, FPS, GAME, play

STRIDE = 2
BASELINE = f"for {{}}, from the file it is .*{SCALED}"
NOT_RANDOM = "is not the error of random actions"
BELOW_FLOOR = "the stated error of the tokenizer's own reconstruction"
NO_FLOOR = "states a reconstruction error of the tokenizer of .*, which is no error"
EPISODE = r"states episode .*, in lamps_frames\.h5 it is"
SMALL = "a picture of a rollout has at least"


def _recorded_at_twice_the_rate(root: Path) -> None:
    """Write episodes of twice the length at twice the rate, so that every second frame is to be read."""
    frames, _ = play(0, EPISODES, STRIDE * EPISODE_FRAMES)
    with h5py.File(root / "data" / f"{GAME.lower()}_frames.h5", "w") as file:
        file.create_dataset("frames", data=frames.reshape(-1, *frames.shape[2:]), compression="gzip")
        file.create_dataset("episode", data=np.repeat(np.arange(len(frames)), STRIDE * EPISODE_FRAMES))
        file.attrs["fps"] = STRIDE * FPS


STATEMENTS = (
    child(
        "copy-last-overstated",
        "the error of copying the last frame is stated four times too large",
        "INVALID",
        "G5.baseline",
        BASELINE.format("copying the last frame"),
    ),
    child(
        "mean-frame-overstated",
        "the error of the mean frame is stated four times too large",
        "INVALID",
        "G5.baseline",
        BASELINE.format("the mean frame"),
    ),
    child(
        "mean-frame-of-two-steps",
        "the errors of the mean frame are stated for the steps in reversed order",
        "INVALID",
        "G5.baseline",
        BASELINE.format("the mean frame"),
    ),
    child(
        "random-actions-overstated",
        "the error with random actions is stated four times too large",
        "INVALID",
        "G5.random",
        NOT_RANDOM,
    ),
    child("random-actions-made-up", "the error with random actions is made up", "INVALID", "G5.random", NOT_RANDOM),
    child(
        "random-frames-left-out",
        "the frames of random actions are left out",
        "INVALID",
        "G5.random",
        "left no frames of random actions",
    ),
    child(
        "random-frames-of-noise",
        "the frames of random actions are noise, and the stated errors are others",
        "INVALID",
        "G5.random",
        NOT_RANDOM,
    ),
    child("floor-overstated", "the tokenizer's own error is stated as 0.5", "INVALID", "G5.floor", BELOW_FLOOR),
    child("floor-negative", "the tokenizer's own error is stated as negative", "INVALID", "G5.floor", NO_FLOOR),
    child("floor-nan", "the tokenizer's own error is stated as nan", "INVALID", "G5.floor", NO_FLOOR),
    child("episodes-numbered", "every clip is stated as an episode of its own", "INVALID", "G5.episodes", EPISODE),
    child("episodes-shifted", "every clip is stated in the next episode", "INVALID", "G5.episodes", EPISODE),
    Defect(
        "stride-of-one",
        "every frame is read where every second one was requested",
        "child",
        "INVALID",
        "G5.settings",
        "stride=1 instead of 2",
        project=_recorded_at_twice_the_rate,
        in_child="stride-of-one",
    ),
    child(
        "non-finite-not-counted",
        "a few pixels are infinite, and the run reports none",
        "INVALID",
        "G5.finite",
        "counts 0 values that were no finite number, its frames file marks",
    ),
    child("picture-of-one-pixel", "the picture has one pixel", "FAIL", "G4", SMALL),
    child("picture-of-one-colour", "the picture has a single colour", "FAIL", "G4", "is of a single colour"),
)
