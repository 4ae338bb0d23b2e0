"""Clips of an augmenting data loader are not independent; games of few states and symmetric ones are.

pytest tests/unit/gate/measures/test_clip_symmetries.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.helpers.grid_games import grid_game
from tinyworlds_gate.gate.measures.clip_copies import find_copies
from tinyworlds_gate.gate.measures.clip_symmetries import augmented_pairs

CONTEXT, LENGTH = 3, 13


def rooms(count: int, height: int = 64) -> np.ndarray:
    """Return clips of textured rooms, with agents of which each walks by itself."""
    rng = np.random.default_rng(7)
    floor = rng.integers(0, 90, (count, 1, 8, 8, 3)).astype(np.uint8).repeat(8, 2).repeat(8, 3)
    return (grid_game(3, count, LENGTH, cells=8, agents=3) // 2 + floor)[:, :, :height]


def episodes(clips: np.ndarray) -> int:
    found = find_copies(clips[:, :CONTEXT], clips[:, CONTEXT:], np.arange(len(clips)))
    return len(np.unique(found.episodes))


PICTURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda clips: clips[:, :, :, ::-1],
    "upside down": lambda clips: clips[:, :, ::-1],
    "turned": lambda clips: np.rot90(clips, axes=(2, 3)),
    "other colours": lambda clips: clips[..., [1, 2, 0]],
    "mirrored in other colours": lambda clips: clips[:, :, :, ::-1, [2, 1, 0]],
    "mirrored with noise": lambda clips: np.clip(
        clips[:, :, :, ::-1].astype(int) + np.random.default_rng(1).integers(-8, 9, clips.shape), 0, 255
    ).astype(np.uint8),
}


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("game", ["rooms", "one agent"])
def test_clips_and_their_pictures_count_as_one_episode(game: str, picture: str) -> None:
    clips = rooms(8) if game == "rooms" else grid_game(1, 8, LENGTH, cells=8)
    assert episodes(clips) == 8
    assert episodes(np.concatenate([clips, PICTURES[picture](clips)])) == 8


@pytest.mark.requirement("G5")
def test_frames_that_are_not_square_are_compared_in_four_positions() -> None:
    clips = rooms(6, height=52)
    assert episodes(np.concatenate([clips, clips[:, :, ::-1, ::-1]])) == 6


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("repeat", [0.0, 0.7])
def test_independent_games_of_few_states_are_independent_episodes(repeat: float) -> None:
    clips = grid_game(1, 40, LENGTH, cells=4, repeat=repeat)
    assert augmented_pairs(clips) == []


def test_few_pictures_of_others_are_a_coincidence_and_tiny_frames_are_not_compared() -> None:
    clips = rooms(12)
    some = np.concatenate([clips, clips[:3, :, :, ::-1]])
    assert augmented_pairs(some) == []
    tiny = clips[:, :, :6, :6]
    assert augmented_pairs(np.concatenate([tiny, tiny[:, :, ::-1]])) == []
