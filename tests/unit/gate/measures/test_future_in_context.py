"""Files whose context holds what was to be predicted, and games that repeat themselves.

pytest tests/unit/gate/measures/test_future_in_context.py
"""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.future_in_context import future_in_context

CLIPS, GIVEN, STEPS, SIDE = 24, 4, 8, 24


def walks(seed: int, cells: int = 6, length: int = GIVEN + STEPS) -> np.ndarray:
    """Return clips uint8 [N, T, H, W, 3] of an agent that walks about a grid at random."""
    random, size = np.random.default_rng(seed), SIDE // cells
    frames = np.full((CLIPS, length, SIDE, SIDE, 3), 40, np.uint8)
    for clip in frames:
        place = random.integers(0, cells, 2)
        for frame in clip:
            top, left = place * size
            frame[top : top + size, left : left + size] = 220
            step = ((0, 1), (1, 0), (0, -1), (-1, 0))[random.integers(4)]
            place = (place + step).clip(0, cells - 1)
    return frames


def rolling(periods: int, length: int = GIVEN + STEPS) -> np.ndarray:
    """Return clips whose whole picture comes back after some frames, each with a texture of its own."""
    random = np.random.default_rng(3)
    phases = random.integers(0, 255, (CLIPS, periods, SIDE, SIDE, 3), np.uint8)
    return phases[:, np.arange(length) % periods]


def balls(length: int = GIVEN + STEPS) -> np.ndarray:
    """Return clips of a ball that goes to and fro between two walls, 2 px a frame."""
    frames = np.full((CLIPS, length, SIDE, SIDE, 3), 40, np.uint8)
    for number, clip in enumerate(frames):
        for step, frame in enumerate(clip):
            at = abs((2 * (number + step)) % (2 * (SIDE - 4)) - (SIDE - 4))
            frame[number % 20 : number % 20 + 4, at : at + 4] = 200
    return frames


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("frames", [walks(1), walks(2, cells=3), rolling(3), rolling(4), rolling(2), balls()])
def test_games_that_come_back_to_earlier_pictures_are_no_leak(frames: np.ndarray) -> None:
    assert future_in_context(frames[:, :GIVEN], frames[:, GIVEN:]) is None


def test_a_game_that_pauses_or_stands_still_is_no_leak() -> None:
    slow = np.repeat(walks(4, length=6), 2, axis=1)
    assert future_in_context(slow[:, :GIVEN], slow[:, GIVEN:]) is None
    assert future_in_context(slow[:, 1 : GIVEN + 1], slow[:, GIVEN + 1 :]) is None
    still = np.repeat(walks(4, length=1), 12, axis=1)
    assert future_in_context(still[:, :GIVEN], still[:, GIVEN:]) is None


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("frames", [walks(1), balls(), rolling(40)])
@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda x: x, id="context is the whole clip"),
        pytest.param(lambda x: np.concatenate([x, x[:, GIVEN - 1 : GIVEN]], axis=1), id="whole clip and last frame"),
        pytest.param(lambda x: x[:, GIVEN:], id="context is what is to be predicted"),
        pytest.param(lambda x: x[:, GIVEN : 2 * GIVEN], id="context is its beginning"),
        pytest.param(lambda x: x[:, 3 : GIVEN + 3], id="three frames too late"),
        pytest.param(lambda x: x[:, 1 : GIVEN + 1], id="one frame too late"),
    ],
)
def test_a_context_that_holds_the_future_is_found(frames: np.ndarray, cut: object) -> None:
    assert callable(cut)
    assert future_in_context(cut(frames), frames[:, GIVEN:]) is not None


def test_a_few_clips_cut_wrongly_are_found() -> None:
    frames = balls()
    context = frames[:, :GIVEN].copy()
    context[::8] = frames[::8, GIVEN : 2 * GIVEN]
    found = future_in_context(context, frames[:, GIVEN:])
    assert str(found).startswith(f"in {CLIPS // 8} of {CLIPS} moving clips"), found
