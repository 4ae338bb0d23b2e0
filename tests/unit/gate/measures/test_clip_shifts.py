"""Rolled and cropped copies of one clip are no independent episodes; levels with a repeated background are.

pytest tests/unit/gate/measures/test_clip_shifts.py
"""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.clip_copies import find_copies
from tinyworlds_gate.gate.measures.clip_shifts import shifted_pairs

CONTEXT, FRAMES, SIDE = 3, 12, 64


def balls(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    """Return one clip of balls that bounce over tiles, uint8 [T, H, W, 3]."""
    tiles = rng.integers(0, 90, (side // 8, side // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    clip = np.stack([tiles] * FRAMES)
    begin, speed = rng.integers(0, side - 4, (count, 2)), rng.choice([-3, -2, -1, 1, 2, 3], (count, 2))
    for time in range(FRAMES):
        for top, left in (begin + speed * time) % (side - 4):
            clip[time, top : top + 4, left : left + 4] = 240
    return clip


def episodes(clips: np.ndarray) -> int:
    found = find_copies(clips[:, :CONTEXT], clips[:, CONTEXT:], np.arange(len(clips)))
    return len(np.unique(found.episodes))


@pytest.mark.requirement("G5")
def test_rolled_copies_of_a_clip_count_as_one_episode() -> None:
    rng = np.random.default_rng(4)
    one = balls(rng, SIDE, 6)
    clips = np.stack([np.roll(one, rng.integers(0, SIDE, 2), (1, 2)) for _ in range(10)])
    assert episodes(clips) == 1


def test_all_of_many_copies_are_found_and_not_only_those_that_are_looked_at_first() -> None:
    rng = np.random.default_rng(6)
    one = balls(rng, 32, 4)
    clips = np.stack([np.roll(one, rng.integers(0, 32, 2), (1, 2)) for _ in range(150)])
    assert episodes(clips) == 1


@pytest.mark.requirement("G5")
def test_random_crops_of_two_recordings_count_as_two_episodes() -> None:
    rng = np.random.default_rng(5)
    recordings = [balls(rng, 88, 10) for _ in range(2)]
    places = rng.integers(0, 25, (12, 2))
    crops = [recordings[n % 2][:, y : y + SIDE, x : x + SIDE] for n, (y, x) in enumerate(places)]
    assert episodes(np.stack(crops)) == 2


@pytest.mark.requirement("G5")
def test_clips_of_their_own_stay_apart() -> None:
    clips = np.stack([balls(np.random.default_rng(seed), SIDE, 6) for seed in range(10)])
    assert episodes(clips) == 10


def test_levels_that_scroll_over_one_repeated_background_stay_apart() -> None:
    rng = np.random.default_rng(3)
    wall = np.tile(rng.integers(40, 200, (16, 16, 3)).astype(np.uint8), (4, 12, 1))
    clips = []
    for _ in range(16):
        start, column, way = rng.integers(0, 16), rng.integers(4, 56), rng.choice([-2, 2])
        height = rng.integers(4, 56)
        clip = np.stack([wall[:, start + 3 * time : start + 3 * time + SIDE] for time in range(FRAMES)])
        for time in range(FRAMES):
            top = int(np.clip(height + way * time, 0, SIDE - 6))
            clip[time, top : top + 6, column : column + 6] = (250, 40, 40)
        clips.append(clip)
    assert shifted_pairs(np.stack(clips), np.arange(16)) == []


def test_clips_of_one_episode_are_no_pair() -> None:
    rng = np.random.default_rng(4)
    one = balls(rng, SIDE, 6)
    clips = np.stack([np.roll(one, rng.integers(0, SIDE, 2), (1, 2)) for _ in range(4)])
    assert shifted_pairs(clips, np.zeros(4, int)) == []
    assert len(shifted_pairs(clips, np.arange(4))) == 6
