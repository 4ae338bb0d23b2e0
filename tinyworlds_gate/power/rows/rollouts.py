"""Defects of the rollout: leaked true frames, randomness, wrong actions, overflow."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import BY_CHANCE, NO_CONTROL, NOT_FINITE, NOT_INFERRED, NOT_STRICT, WORSE, rollout
from tinyworlds_gate.power.world import GAME


def shuffle_actions(root: Path) -> None:
    """Put the true actions of the frames file into another order."""
    with h5py.File(root / "data" / f"{GAME.lower()}_frames.h5", "r+") as file:
        file["actions"][:] = np.random.default_rng(3).permutation(file["actions"][:])


ROLLOUT = (
    rollout("truth", "the true frames are returned as generated ones", "INVALID", "G5.blind", NOT_STRICT),
    rollout("half-truth", "generated frames are averaged with the true ones", "INVALID", "G5.blind", NOT_STRICT),
    rollout("last-step-true", "the last generated frame is the true one", "INVALID", "G5.blind", NOT_STRICT),
    rollout("teacher-forced", "teacher forcing, reported as strict", "INVALID", "G5.blind", NOT_STRICT),
    rollout("temperature", "tokens are sampled, but temperature 0 is reported", "INVALID", "G5.blind", NOT_STRICT),
    rollout(
        "seed-ignored",
        "the seed is ignored and tokens are sampled",
        "INVALID",
        "G5.repeat",
        BY_CHANCE,
        everywhere=True,
    ),
    rollout(
        "sampling-noise",
        "noise is added to the generated frames",
        "INVALID",
        "G5.repeat",
        BY_CHANCE,
        everywhere=True,
    ),
    rollout("actions-one-step-late", "each step uses the action of the previous step", "FAIL", "G5.skill", WORSE),
    rollout("actions-one-step-early", "each step uses the action of the next step", "FAIL", "G5.skill", WORSE),
    rollout("actions-of-another-clip", "each clip uses the actions of another", "INVALID", "G5.actions", NOT_INFERRED),
    rollout("actions-constant", "all clips use one and the same action", "FAIL", "G5.codes", "1 action code is in use"),
    rollout("actions-negated", "every action bit is flipped", "FAIL", "G5.control", NO_CONTROL),
    rollout(
        "inferred-actions-only",
        "with any other actions than the inferred ones the model generates noise",
        "FAIL",
        "G5.played",
        "the frames are none of the game",
    ),
    Defect(
        "actions-unrelated",
        "the action codes have nothing to do with the true actions of the frames file",
        "data",
        "FAIL",
        "G5.true_actions",
        "the codes are not the player's actions",
        project=shuffle_actions,
    ),
    rollout("nan-pixels", "a few pixels are NaN", "FAIL", "G5.finite", NOT_FINITE),
    rollout("inf-pixels", "a few pixels are infinite", "FAIL", "G5.finite", NOT_FINITE),
    rollout("float16-overflow", "frames are decoded in float16, which overflows", "FAIL", "G5.finite", NOT_FINITE),
)
