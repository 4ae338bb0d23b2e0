"""Objects in each other's colours, and faint ones that do not exist, are wrong; what blur and JPEG do is not.

pytest tests/unit/gate/measures/objects/test_colours_and_ghosts.py
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image

from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.object_rule import judge_objects

CLIPS, CONTEXT, FRAMES, SIDE, BALL, BALLS = 12, 3, 11, 64, 4, 6
WHITE, YELLOW, RED, ORANGE = (240, 240, 240), (240, 240, 90), (230, 40, 30), (230, 140, 30)
Colour = tuple[int, int, int]


@cache
def places(seed: int, count: int) -> np.ndarray:
    """Return where balls roll and bounce, int [N, T, balls, 2]."""
    rng = np.random.default_rng(seed)
    most = SIDE - BALL
    begin, speed = rng.integers(0, most + 1, (CLIPS, 1, count, 2)), rng.integers(1, 3, (CLIPS, 1, count, 2))
    run = begin + speed * rng.choice([-1, 1], (CLIPS, 1, count, 2)) * np.arange(FRAMES)[None, :, None, None]
    return most - np.abs(run % (2 * most) - most)


def drawn(at: np.ndarray, colours: list[Colour], onto: np.ndarray | None = None) -> np.ndarray:
    made = np.full((CLIPS, FRAMES, SIDE, SIDE, 3), (10, 10, 20), np.uint8) if onto is None else onto.copy()
    for clip, time, ball in np.ndindex(*at.shape[:3]):
        top, left = at[clip, time, ball]
        made[clip, time, top : top + BALL, left : left + BALL] = colours[ball % len(colours)]
    return made


def judged(true: np.ndarray, made: np.ndarray) -> tuple[str, str]:
    record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], np.arange(CLIPS))
    return judge_objects(record, 0.9)


def as_jpeg(made: np.ndarray) -> np.ndarray:
    lossy = made.copy()
    for place in np.ndindex(*made.shape[:2]):
        file = io.BytesIO()
        Image.fromarray(made[place]).save(file, "JPEG", quality=85)
        lossy[place] = np.asarray(Image.open(file))
    return lossy


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("colours", [[WHITE, YELLOW], [RED, ORANGE]], ids=["white and yellow", "red and orange"])
def test_balls_in_each_others_colours_fail_and_jpeg_passes(colours: list[Colour]) -> None:
    at = places(0, BALLS)
    true = drawn(at, colours)
    verdict, reason = judged(true, drawn(at, colours[::-1]))
    assert verdict == "FAIL"
    assert "are replaced by something else" in reason
    assert judged(true, as_jpeg(true))[0] == "PASS"
    assert judged(true, drawn(at, colours[:1]))[0] == "FAIL"


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("count", "level"), [(1, 150), (3, 110)])
def test_faint_balls_that_do_not_exist_fail(count: int, level: int) -> None:
    true = drawn(places(0, BALLS), [WHITE])
    made = np.maximum(true, drawn(places(1, count), [(level, level, level)]))
    verdict, reason = judged(true, made)
    assert verdict == "FAIL"
    assert "are generated where the true frames show nothing like them" in reason


@pytest.mark.requirement("G6")
def test_two_futures_at_once_fail() -> None:
    true = drawn(places(0, 3), [WHITE])
    other = drawn(places(2, 3), [WHITE])
    mixed = np.rint(0.6 * true + 0.4 * other.astype(float)).astype(np.uint8)
    verdict, reason = judged(true, np.concatenate([true[:, :CONTEXT], mixed[:, CONTEXT:]], axis=1))
    assert verdict == "FAIL"
    assert "nothing like them" in reason
