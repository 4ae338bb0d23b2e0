"""Things that differ from the ground by their texture alone: found in exact frames, missed where they are not drawn.

A checked ground of two greys; a striped thing of the same two greys moves over it, and two coloured balls.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.measures.objects.textures import measure_textures
from tinyworlds_gate.gate.object_rule import judge_objects
from tinyworlds_gate.gate.texture_rule import LEAST_EPISODES, LEAST_JUDGED, texture_faults
from tinyworlds_gate.names import FAIL, PASS

CLIPS, CONTEXT, STEPS, SIDE, THING, BALL = 10, 3, 10, 64, 12, 6
LEAST = 0.8
ROW, COLUMN = np.mgrid[:SIDE, :SIDE]
CHECKS, STRIPES = np.where((ROW + COLUMN) % 2, 160, 80), np.where(ROW % 2, 160, 80)
COLOURS = ((230, 60, 60), (60, 200, 240))
Places = np.ndarray
"""int [N, T, things, 2]: top left corners."""


@cache
def places(seed: int, side: int, count: int) -> Places:
    """Return where things go that bounce off the edges, 2 to 4 px a frame in each direction."""
    generator = np.random.default_rng(seed)
    shape, room = (CLIPS, 1, count, 2), SIDE - side
    speed = generator.uniform(2, 4, shape) * generator.choice([-1, 1], shape)
    run = generator.uniform(0, room, shape) + speed * np.arange(CONTEXT + STEPS)[None, :, None, None]
    return np.rint(room - np.abs(run % (2 * room) - room)).astype(int)


def drawn(things: Places, ground: np.ndarray = CHECKS, texture: np.ndarray = STRIPES) -> np.ndarray:
    """Draw the clips, uint8 [N, T, H, W, 3]; the textures lie still, so that a thing is a window on the other one."""
    frames = np.repeat(np.broadcast_to(ground, (CLIPS, CONTEXT + STEPS, SIDE, SIDE))[..., None], 3, axis=-1)
    frames = frames.astype(np.uint8)
    balls = places(1, BALL, len(COLOURS))
    for clip, time in np.ndindex(CLIPS, CONTEXT + STEPS):
        for top, left in things[clip, time]:
            box = np.s_[top : top + THING, left : left + THING]
            frames[clip, time][box] = texture[box][..., None]
        for (top, left), colour in zip(balls[clip, time], COLOURS, strict=True):
            frames[clip, time, top : top + BALL, left : left + BALL] = colour
    return frames


@cache
def exact() -> np.ndarray:
    return drawn(places(0, THING, 1))


def frozen() -> np.ndarray:
    things = places(0, THING, 1).copy()
    things[:, CONTEXT:] = things[:, CONTEXT - 1 : CONTEXT]
    return drawn(things)


@cache
def missing() -> np.ndarray:
    return drawn(places(0, THING, 0))


def beside(cells: int) -> np.ndarray:
    return drawn(np.clip(places(0, THING, 1) + cells, 0, SIDE - THING))


def elsewhere() -> np.ndarray:
    return drawn(SIDE - THING - places(0, THING, 1))


def two_more() -> np.ndarray:
    return drawn(np.concatenate([places(0, THING, 1), places(7, THING, 2)], axis=2))


def as_jpeg(frames: np.ndarray) -> np.ndarray:
    lossy = []
    for frame in frames.reshape(-1, SIDE, SIDE, 3):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=90)
        lossy.append(np.asarray(Image.open(file).convert("RGB")))
    return np.stack(lossy).reshape(frames.shape)


def noisy(frames: np.ndarray, sigma: float = 6.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, frames.shape)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def blurred(frames: np.ndarray, side: float) -> np.ndarray:
    """Return frames in which each pixel has this share of each of its four neighbours."""
    padded = np.pad(frames.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    middle = padded[:, :, 1:-1]
    rows = (1 - 2 * side) * middle + side * (padded[:, :, 2:] + padded[:, :, :-2])
    both = (1 - 2 * side) * rows[:, :, :, 1:-1] + side * (rows[:, :, :, 2:] + rows[:, :, :, :-2])
    return np.rint(both).astype(np.uint8)


def measured(true: np.ndarray, made: np.ndarray, scrolls: bool = False) -> dict[str, Any] | None:
    frames = (true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:])
    return measure_textures(frames, np.full(CLIPS, scrolls), np.arange(CLIPS))


def faults(true: np.ndarray, made: np.ndarray) -> list[str]:
    return list(texture_faults({"textures": measured(true, made)}, LEAST))


WRONG: dict[str, Callable[[], np.ndarray]] = {
    "missing": missing,
    "frozen": frozen,
    "elsewhere": elsewhere,
    "missing, with noise": lambda: noisy(missing()),
    "missing, as JPEG": lambda: as_jpeg(missing()),
    "missing, with less contrast": lambda: np.rint(120 + 0.9 * (missing() - 120.0)).astype(np.uint8),
}
RIGHT: dict[str, Callable[[], np.ndarray]] = {
    "exact": exact,
    "JPEG": lambda: as_jpeg(exact()),
    "noise": lambda: noisy(exact()),
    "a faint blur": lambda: blurred(exact(), 0.03),
    "a blur that wipes textures out": lambda: blurred(exact(), 0.2),
    "a blur and noise": lambda: noisy(blurred(exact(), 0.1), 8.0),
    "a pixel beside": lambda: beside(1),
    "two pixels beside": lambda: beside(2),
    "darker": lambda: np.rint(0.9 * exact()).astype(np.uint8),
    "no texture at all": lambda: drawn(places(0, THING, 1), np.full_like(CHECKS, 120), np.full_like(CHECKS, 120)),
}


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("change", WRONG)
def test_a_thing_of_another_texture_that_is_not_in_its_place_fails(change: str) -> None:
    fault = faults(exact(), WRONG[change]())[0]
    assert fault.startswith("of things that differ from the ground by their fine texture only")


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("change", RIGHT)
def test_exact_blurred_noisy_lossy_and_displaced_frames_pass(change: str) -> None:
    assert faults(exact(), RIGHT[change]()) == []


def test_the_exact_frames_are_judged_and_wholly_right() -> None:
    record = measured(exact(), exact())
    assert record is not None
    for row in (record["things"], record["frames"]):
        assert row["judged"] == row["right"] >= LEAST_JUDGED
        assert row["episodes"] == CLIPS
        assert row["high"] == 1.0
    assert record["sharpness_by_step"] == [1.0] * STEPS


@pytest.mark.parametrize(
    ("made", "found", "too_many"),
    [(exact, 97, 0), (missing, 0, 0), (frozen, 20, 0), (elsewhere, 0, 67), (two_more, 97, 66)],
)
def test_the_page_states_these_numbers(made: Callable[[], np.ndarray], found: int, too_many: int) -> None:
    record = measured(exact(), made())
    assert record is not None
    things, frames = record["things"], record["frames"]
    assert (things["judged"], things["right"]) == (97, found)
    assert (frames["judged"], frames["judged"] - frames["right"]) == (100, too_many)


@pytest.mark.requirement("G6")
def test_a_thing_that_is_in_no_true_frame_fails_with_and_without_a_true_one() -> None:
    for true, made in ((missing(), exact()), (exact(), two_more())):
        (fault,) = faults(true, made)
        assert "frames something moves that differs from the ground by its fine texture" in fault


@pytest.mark.requirement("G6")
def test_a_checked_thing_on_a_plain_ground_is_missed_only_where_the_balls_are_sharp() -> None:
    plain = np.full_like(CHECKS, 120)
    true, without = drawn(places(0, THING, 1), plain, CHECKS), drawn(places(0, THING, 0), plain)
    assert faults(true, true) == []
    assert len(faults(true, without)) == 1
    assert faults(true, blurred(true, 0.1)) == faults(true, blurred(without, 0.2)) == []


@pytest.mark.parametrize(("every", "judged"), [(3, False), (7, True)])
def test_what_flickers_in_its_place_is_not_judged(every: int, judged: bool) -> None:
    flickers = missing().copy()
    flickers[:, ::every, 20:32, 20:32] = STRIPES[20:32, 20:32, None]
    record = measured(flickers, flickers)
    assert record is not None
    assert (record["things"]["judged"] > 0) == judged


def test_nothing_is_judged_while_the_background_scrolls() -> None:
    assert measured(exact(), missing(), scrolls=True) is None


@pytest.mark.requirement("G6")
def test_the_verdict_names_what_the_colours_do_not_show() -> None:
    true = exact()
    for made, verdict in ((true, PASS), (missing(), FAIL)):
        record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], np.arange(CLIPS))
        found, reason = judge_objects(record, 0.9)
        assert found == verdict, reason
        assert ("fine texture" in reason) == (verdict == FAIL)
        assert min(record["recall"], record["precision"]) > 0.95, "the colours show nothing of it"


def test_too_few_things_or_episodes_are_not_judged() -> None:
    good = {"judged": 100, "right": 100, "episodes": 9, "high": 1.0}
    wrong = {"judged": LEAST_JUDGED, "right": 3, "episodes": LEAST_EPISODES, "high": 0.79}
    for name, other in (("things", "frames"), ("frames", "things")):
        assert len(list(texture_faults({"textures": {name: wrong, other: good}}, LEAST))) == 1
        for less in ({"judged": LEAST_JUDGED - 1}, {"episodes": LEAST_EPISODES - 1}, {"high": LEAST}, {"high": None}):
            assert list(texture_faults({"textures": {name: wrong | less, other: good}}, LEAST)) == []
    for without in ({}, {"textures": None}):
        assert list(texture_faults(without, LEAST)) == []
