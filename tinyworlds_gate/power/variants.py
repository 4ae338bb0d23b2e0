"""False fails without a training: the healthy model on other episodes, and a perfect simulator in other scenes.

`tinyworlds-gate power --variants 20` measures both; each must pass.
"""

from __future__ import annotations

import time
from pathlib import Path

from tinyworlds_gate.power.object_world import write_frames
from tinyworlds_gate.power.scene import make_scene, try_gate
from tinyworlds_gate.power.trainings import MEASURES, Training, training_of
from tinyworlds_gate.power.trial import judge_frames
from tinyworlds_gate.power.world import GAME, write_world

FIRST_WORLD = 1000
"""Seed of the first world that no training has seen."""


def other_episodes(seed: int, root: Path) -> Training:
    """Return the gate's verdict on the healthy model, on episodes of another seed; ``root`` must not exist."""
    began = time.monotonic()
    make_scene(root)
    write_world(root / "data" / f"{GAME.lower()}_frames.h5", FIRST_WORLD + seed)
    return training_of(seed, try_gate(root), time.monotonic() - began)


def simulation(seed: int, root: Path) -> Training:
    """Return the verdict on frames of the perfect simulator of the ball world; ``root`` must not exist."""
    began = time.monotonic()
    verdict, measures = judge_frames(write_frames(root / "frames.h5", seed=seed))
    values = {name: getattr(measures, name) for name in MEASURES}
    return Training(seed, verdict.verdict, verdict.sentence, values, time.monotonic() - began)
