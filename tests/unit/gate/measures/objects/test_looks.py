"""Sprites that face backwards or never change their step fail; blur, noise and half a pixel do not.

pytest tests/unit/gate/measures/objects/test_looks.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.object_rule import judge_objects

CLIPS, CONTEXT, FRAMES, SIDE, SPRITE = 12, 3, 12, 64, 8
BODY, EYE, BELLY = (230, 120, 60), (20, 20, 20), (250, 230, 200)
Looks = Callable[[bool, int, int], tuple[bool, int | None]]
"""Whether a creature looks to the right and its step of the walk, by what is true and the frame."""


def sprite(right: bool, step: int | None) -> np.ndarray:
    image = np.full((SPRITE, SPRITE, 3), BODY, np.uint8)
    image[2:4, 4:7] = EYE
    if step is None:
        image[6:, 4:] = BELLY
    else:
        image[6:, 3 * step : 3 * step + 3] = EYE
    return image if right else image[:, ::-1]


@cache
def tracks() -> tuple[np.ndarray, np.ndarray]:
    """Return the places [N, T, 2, 2] of two creatures and their velocities."""
    rng = np.random.default_rng(8)
    place = rng.integers(0, SIDE - SPRITE, (CLIPS, 2, 2))
    velocity = rng.integers(1, 3, (CLIPS, 2, 2)) * rng.choice([-1, 1], (CLIPS, 2, 2))
    places, ways = [], []
    for _ in range(FRAMES):
        places.append(place)
        ways.append(velocity)
        velocity = np.where((place + velocity < 0) | (place + velocity > SIDE - SPRITE), -velocity, velocity)
        place = place + velocity
    return np.stack(places, axis=1), np.stack(ways, axis=1)


def resting(right: bool, step: int, time: int) -> tuple[bool, int | None]:
    return right, None


def walking(right: bool, step: int, time: int) -> tuple[bool, int | None]:
    return right, step


def backwards(right: bool, step: int, time: int) -> tuple[bool, int | None]:
    return not right, None


def out_of_step(right: bool, step: int, time: int) -> tuple[bool, int | None]:
    return right, 1 - step


def frames(looks: Looks) -> np.ndarray:
    places, ways = tracks()
    drawn = np.full((CLIPS, FRAMES, SIDE, SIDE, 3), (15, 20, 30), np.uint8)
    for clip, time, number in np.ndindex(CLIPS, FRAMES, 2):
        top, left = places[clip, time, number]
        image = sprite(*looks(bool(ways[clip, time, number, 1] > 0), time // 3 % 2, time))
        drawn[clip, time, top : top + SPRITE, left : left + SPRITE] = image
    return drawn


def judged(true: np.ndarray, made: np.ndarray) -> tuple[str, str]:
    record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], np.arange(CLIPS))
    return judge_objects(record, 0.9)


@pytest.mark.requirement("G6")
def test_a_creature_that_walks_backwards_fails() -> None:
    verdict, reason = judged(frames(resting), frames(backwards))
    assert verdict == "FAIL"
    assert "are mirrored" in reason


@pytest.mark.requirement("G6")
def test_a_walk_out_of_step_fails() -> None:
    verdict, reason = judged(frames(walking), frames(out_of_step))
    assert verdict == "FAIL"
    assert "look like another one of their kind" in reason


def softened(made: np.ndarray) -> np.ndarray:
    """Return the frames half a pixel down and to the right."""
    wide = made.astype(float)
    wide[:, :, 1:] = (wide[:, :, 1:] + wide[:, :, :-1]) / 2
    wide[:, :, :, 1:] = (wide[:, :, :, 1:] + wide[:, :, :, :-1]) / 2
    return wide.round().astype(np.uint8)


def noisy(made: np.ndarray) -> np.ndarray:
    return np.clip(made + np.random.default_rng(0).normal(0, 8, made.shape), 0, 255).round().astype(np.uint8)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("change", [lambda made: made, softened, noisy], ids=["exact", "half a pixel", "noise"])
def test_a_good_model_passes(change: Callable[[np.ndarray], np.ndarray]) -> None:
    assert judged(frames(walking), change(frames(walking)))[0] == "PASS"


@pytest.mark.requirement("G6")
def test_a_tenth_of_the_creatures_may_be_mirrored() -> None:
    made = frames(resting)
    made[::12] = frames(backwards)[::12]
    assert judged(frames(resting), made)[0] == "PASS"
