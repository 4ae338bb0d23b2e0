"""Clips of independent episodes are measured in any game; clips of the training are left out or refused in each.

pytest tests/unit/loop/test_screened_clips.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.grid_games import bouncing_ball, grid_game
from tinyworlds_gate.errors import TooFewClipsError
from tinyworlds_gate.gate.clip_plan import DrawnClips
from tinyworlds_gate.loop.screened_clips import DrawnFrames, codes_of_clips, measured_unseen, screen_draws
from tinyworlds_gate.reference.data.frame_codes import KnownFrames, known_frames

TRAIN, HELD_OUT, LENGTH, CLIP = 70, 30, 45, 15


def known_of(frames: np.ndarray, name: str = "game.h5") -> KnownFrames:
    episode = np.arange(len(frames)).repeat(frames.shape[1])
    blocks = [(0, frames.reshape(-1, *frames.shape[2:]))]
    return known_frames(blocks, episode, range(len(frames)), name=name, stride=1)


def left_out(train: np.ndarray, clips: np.ndarray, held_out: np.ndarray) -> float:
    """Return the share of clips of held-out episodes, one of each in turn, that is left out."""
    episode = np.arange(len(clips)) % len(held_out)
    drawn = DrawnFrames(
        DrawnClips(Path("held_out.h5"), tuple(range(len(clips))), len(held_out)),
        codes_of_clips(clips),
        episode,
        known_of(held_out),
    )
    file = known_of(np.concatenate([train, held_out]))
    _, out, unchecked = screen_draws({1: drawn}, {1: [known_of(train)]}, file)
    assert not unchecked
    return len(out.get(1, ())) / len(clips)


def clips_of(frames: np.ndarray, stride: int = 1) -> np.ndarray:
    """Return two clips of each episode."""
    reach = (CLIP - 1) * stride + 1
    starts = np.random.default_rng(5).integers(0, frames.shape[1] - reach + 1, 2)
    return np.concatenate([frames[:, start : start + reach : stride] for start in starts])


def minigrid(seed: int, episodes: int) -> np.ndarray:
    rooms = pytest.importorskip("tinyworlds_gate.reference.games.minigrid_rooms", reason="needs the games extra")
    played = (rooms.play_episode(seed, number, LENGTH, 64).frames for number in count())
    return np.stack(list(islice((one for one in played if len(one) == LENGTH), episodes // 2)))


Game = Callable[[int, int], np.ndarray]
GAMES: dict[str, Game] = {
    "4 x 4 cells": lambda seed, number: grid_game(seed, number, LENGTH, cells=4),
    "8 x 8 cells": lambda seed, number: grid_game(seed, number, LENGTH, cells=8),
    "10 x 10 cells": lambda seed, number: grid_game(seed, number, LENGTH, cells=10),
    "16 x 16 cells": lambda seed, number: grid_game(seed, number, LENGTH, cells=16),
    "two agents": lambda seed, number: grid_game(seed, number, LENGTH, cells=5, agents=2),
    "three agents, often idle": lambda seed, number: grid_game(seed, number, LENGTH, cells=8, agents=3, idle=0.6),
    "straight ways": lambda seed, number: grid_game(seed, number, LENGTH, cells=8, repeat=0.7),
    "a ball and a paddle": lambda seed, number: bouncing_ball(seed, number, LENGTH, paddle=True),
    "MiniGrid": minigrid,
}


@cache
def episodes_of(game: str) -> tuple[np.ndarray, np.ndarray]:
    return GAMES[game](1, TRAIN), GAMES[game](2, HELD_OUT)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("game", GAMES)
def test_clips_of_independent_episodes_are_measured(game: str) -> None:
    train, held_out = episodes_of(game)
    assert left_out(train, clips_of(held_out), held_out) <= 0.4


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same pixels": clips_of,
    "one level more": lambda frames: np.minimum(clips_of(frames), 254) + 1,
    "another stride": lambda frames: clips_of(frames, stride=2),
}


@pytest.mark.requirement("G5", "L7")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("game", ["4 x 4 cells", "10 x 10 cells", "straight ways", "a ball and a paddle", "MiniGrid"])
def test_training_clips_are_refused_where_pictures_recur(game: str, change: str) -> None:
    train, held_out = episodes_of(game)
    with pytest.raises(TooFewClipsError, match=r"of the \d+ clips .* near copies of them, are training frames"):
        left_out(train, CHANGES[change](train[:HELD_OUT]), held_out)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("cells", [6, 8])
def test_a_deterministic_game_of_few_beginnings_is_refused_with_the_cause(cells: int) -> None:
    train, held_out = (bouncing_ball(seed, number, LENGTH, cells=cells) for seed, number in ((1, TRAIN), (2, HELD_OUT)))
    with pytest.raises(TooFewClipsError, match=r"the file repeats itself, .*If the game is deterministic, record it"):
        left_out(train, clips_of(held_out), held_out)


@pytest.mark.requirement("G5")
def test_episodes_with_one_beginning_and_other_futures_are_measured() -> None:
    train, held_out = (grid_game(seed, 60, LENGTH, cells=8, agents=3) for seed in (1, 2))
    beginning = grid_game(3, 1, 6, cells=8, agents=3)
    shared = [np.concatenate([beginning.repeat(60, axis=0), one], axis=1)[:, :30] for one in (train, held_out)]
    assert left_out(shared[0], np.concatenate([shared[1][:, :CLIP], clips_of(shared[1])]), shared[1]) == 0


@pytest.mark.requirement("G5")
def test_scored_clips_are_invalid_if_trained_on_and_unknown_where_chance_shares_as_much() -> None:
    train, held_out = episodes_of("straight ways")
    known = known_of(train)
    verdicts = [
        measured_unseen(codes_of_clips(clips_of(one)), [known], {}, known, episode=np.arange(60) % 30)
        for one in (train[:HELD_OUT], held_out)
    ]
    assert [one.verdict for one in verdicts] == ["INVALID", "NOT-RUN"]
    assert "clips of independent episodes of them are too" in verdicts[1].reason
    others, fresh = episodes_of("three agents, often idle")
    passed = measured_unseen(
        codes_of_clips(clips_of(fresh)), [known_of(others)], {}, known_of(others), episode=np.arange(60) % 30
    )
    assert passed.verdict == "PASS"
