"""Frames of freely chosen codes: frames of the game pass, garbage fails, without labels.

pytest tests/unit/gate/measures/test_played.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinyworlds_gate.gate.action_rules import judge_played
from tinyworlds_gate.gate.measures.played import Record, played_record
from tinyworlds_gate.names import FAIL, NOT_RUN, PASS

CLIPS, CONTEXT, STEPS, SIDE = 24, 2, 4, 32
CHOSEN = tuple(range(0, CLIPS, 2))


def scrolling_world(seed: int, away: int = 0) -> np.ndarray:
    """Return clips uint8 of a textured world under a camera that moves at random from the context on."""
    rng = np.random.default_rng(7)
    kinds = rng.integers(60, 200, (5, 4, 4, 3)).repeat(2, 1).repeat(2, 2)
    world = np.concatenate([np.concatenate(row, axis=1) for row in kinds[rng.integers(5, size=(30, 30))]], axis=0)
    clips = np.empty((CLIPS, CONTEXT + STEPS, SIDE, SIDE, 3), np.uint8)
    start, moves = np.random.default_rng(1), np.random.default_rng(seed)
    for clip in clips:
        y, x = start.integers(60, 140, size=2) + away
        for frame in range(len(clip)):
            clip[frame] = world[y : y + SIDE, x : x + SIDE]
            y, x = (y, x) + 4 * moves.permuted([1, 0]) * moves.choice([-1, 1]) * (frame >= CONTEXT - 1)
    return clips


def shaken(frames: np.ndarray, size: int) -> np.ndarray:
    """Return frames whose squares are in another order."""
    rng, side = np.random.default_rng(3), SIDE // size
    cut = frames.reshape(*frames.shape[:2], side, size, side, size, 3).swapaxes(3, 4)
    parts = cut.reshape(-1, side**2, size, size, 3)
    parts = np.stack([one[rng.permutation(side**2)] for one in parts])
    return parts.reshape(*frames.shape[:2], side, side, size, size, 3).swapaxes(3, 4).reshape(frames.shape)


def blurred(frames: np.ndarray) -> np.ndarray:
    whole = frames.astype(float)
    for axis in (2, 3):
        whole = np.mean([np.roll(whole, shift, axis) for shift in range(-4, 5)], axis=0)
    return whole.astype(np.uint8)


GARBAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise": lambda one: np.random.default_rng(2).integers(0, 256, one.shape).astype(np.uint8),
    "black": np.zeros_like,
    "grey": lambda one: np.full_like(one, 128),
    "the mean frame": lambda one: np.broadcast_to(one.mean((0, 1)).astype(np.uint8), one.shape),
    "blurred": blurred,
    "squares of 4 px shuffled": lambda one: shaken(one, 4),
    "squares of 8 px shuffled": lambda one: shaken(one, 8),
    "other colours": lambda one: one[..., [1, 2, 0]],
    "inverted": lambda one: 255 - one,
    "still": lambda one: np.broadcast_to(one[:, :1], one.shape),
    "half of the clips are noise": lambda one: np.concatenate([one[::2], 7 * one[1::2]]),
}


def record(change: Callable[[np.ndarray], np.ndarray] = lambda one: one, codes: int = 4, episodes: int = 12) -> Record:
    """Return the record of a perfect model whose frames of freely chosen codes are changed."""
    clips, other = scrolling_world(seed=11), scrolling_world(seed=12)[list(CHOSEN), CONTEXT:]
    context, true = clips[:, :CONTEXT], clips[:, CONTEXT:]
    frames = change(np.concatenate([context[list(CHOSEN), -1:], other], axis=1))[:, 1:]
    return played_record(context, true, np.arange(CLIPS) % episodes, CHOSEN, true[list(CHOSEN)], frames, codes)


@pytest.mark.requirement("G5")
def test_frames_of_other_moves_are_frames_of_the_game() -> None:
    found = record()
    assert judge_played(found)[0] == PASS
    assert found["error"] < 1.0
    assert found["patches"] < 2 * found["patches_true"] + 0.02


@pytest.mark.requirement("G5")
def test_the_numbers_of_a_record_are_these() -> None:
    found = record()
    assert (found.pop("no_occasion"), found["clips"], found["episodes"], found["codes"]) == (None, 12, 6, 4)
    assert found == pytest.approx(
        {
            **{"clips": 12, "episodes": 6, "codes": 4, "error": 0.81941355, "motion_other": 0.98411126},
            **{"patches": 0.00261346933, "patches_true": 0.00395821797, "patches_predicted": 0.00395821797},
            **{"sharpness": 1.00208347, "sharpness_predicted": 1.0, "motion": 1.00121959, "motion_predicted": 1.0},
        },
        rel=1e-5,
    )


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_none_of_the_game(kind: str) -> None:
    verdict, reason = judge_played(record(GARBAGE[kind]))
    assert verdict == FAIL, reason


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("codes", "episodes"), [(1, 12), (4, 4)])
def test_without_choice_or_episodes_nothing_is_judged(codes: int, episodes: int) -> None:
    assert judge_played(record(codes=codes, episodes=episodes))[0] == NOT_RUN


@pytest.mark.requirement("G5")
def test_a_game_in_which_nothing_moves_has_nothing_to_compare() -> None:
    still = np.broadcast_to(scrolling_world(1)[:, :1], (CLIPS, STEPS, SIDE, SIDE, 3))
    frames = still[list(CHOSEN)]
    found = played_record(still[:, :CONTEXT], still, np.arange(CLIPS), CHOSEN, frames, frames, 4)
    assert judge_played(found)[0] == NOT_RUN
