"""A world to play without files: small untrained models and made-up frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers.small_models import SMALL, world_models
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.play.meanings import meanings
from tinyworlds_gate.play.world import PlayWorld
from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.reference.rollout.measure import MeasureSettings
from tinyworlds_gate.reference.rollout.world_models import TrainedModels

EPISODE = 20
NAMES = ("left", "right", "nothing", "jump")


def noise_frames(episodes: int = 3, side: int = SMALL.frame_size) -> FramesData:
    """Return episodes of 20 random frames, each with an action."""
    rng = np.random.default_rng(0)
    count = episodes * EPISODE
    frames = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    episode = np.repeat(np.arange(episodes), EPISODE)
    return FramesData(Path("made_up.h5"), frames, episode, rng.integers(0, 4, count).astype(np.uint8), None, 1, True)


def play_world(**settings: Any) -> PlayWorld:
    """Return a world of three clips whose codes 0 to 3 mean left, right, nothing and, not clearly, jump."""
    data = noise_frames()
    codes = np.repeat(np.arange(4), 20)
    actions = np.where((codes == 3) & (np.arange(80) % 2 == 0), 1, codes)
    return PlayWorld(
        title="made up",
        trained=TrainedModels(world_models(), {}, dict.fromkeys(STAGES, SMALL), {}),
        settings=MeasureSettings(generation_steps=1, **({"decode_steps": 2} | settings)),
        device=torch.device("cpu"),
        data=data,
        starts=np.array([0, 25, 45]),
        context=3,
        held_out=True,
        meanings=tuple(meanings(codes, actions, NAMES, 4)),
        meanings_from="the true actions",
    )
