"""Scrolling pictures, regions and objects that only move on need no model: G8's predictions find them.

pytest tests/unit/gate/measures/test_moved_parts.py
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.no_model_predictors import skill
from tinyworlds_gate.gate.measures.baselines import EXACT_SHARE, LAST, NO_MODEL_NEEDED, baselines
from tinyworlds_gate.gate.measures.motions import find_motions
from tinyworlds_gate.gate.measures.moved_parts import _filled, moved_parts

pytestmark = pytest.mark.requirement("G8")

CONTEXT, STEPS, SIDE, CLIPS = 4, 6, 48, 24
LENGTH = CONTEXT + STEPS
GREEN = np.array([40, 70, 40], np.uint8)


def texture(rng: np.random.Generator, height: int, width: int, block: int = 6) -> np.ndarray:
    cells = rng.integers(60, 200, (-(-height // block), -(-width // block), 3)).astype(np.uint8)
    return cells.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]


def scrolling(rng: np.random.Generator, height: int, width: int, speed: tuple[int, int]) -> np.ndarray:
    """Return frames [LENGTH, height, width, 3] of a texture that moves by (down, right) a frame."""
    far = LENGTH * 6
    wide = texture(rng, height + 2 * far, width + 2 * far)
    places = [(far - step * speed[0], far - step * speed[1]) for step in range(LENGTH)]
    return np.stack([wide[top : top + height, left : left + width] for top, left in places])


def split(rng: np.random.Generator, rows: list[int], columns: list[int]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return frames whose rectangles, between these borders, scroll each by itself, and their speeds."""
    frames, speeds = np.empty((LENGTH, SIDE, SIDE, 3), np.uint8), []
    for top, bottom in zip([0, *rows], [*rows, SIDE], strict=True):
        for left, right in zip([0, *columns], [*columns, SIDE], strict=True):
            speed = (int(rng.integers(-1, 2)) if columns else 0, int(rng.choice([-4, -3, -2, 2, 3, 4])))
            frames[:, top:bottom, left:right] = scrolling(rng, bottom - top, right - left, speed)
            speeds.append(speed)
    return frames, speeds


def moved_on(frame: np.ndarray, speed: tuple[int, int], fill: str, mean: np.ndarray) -> np.ndarray:
    """Return what somebody writes without a model: the frame moved on, and what enters made up."""
    sizes = frame.shape[:2]
    made = []
    for step in range(1, STEPS + 1):
        places = [np.arange(size) - step * by for size, by in zip(sizes, speed, strict=True)]
        inside = [one.clip(0, size - 1) for one, size in zip(places, sizes, strict=True)]
        far = [np.abs(one - other) for one, other in zip(places, inside, strict=True)]
        distance = np.maximum(far[0][:, None], far[1][None])[..., None]
        shares = {"mean": distance == 0, "fading": (1 - distance / 6).clip(0, 1), "edge": np.ones_like(distance)}[fill]
        made.append(shares * frame[inside[0]][:, inside[1]] + (1 - shares) * mean)
    return np.stack(made)


BEATEN = {("two columns", "fading"): 0.08}
"""Layout and filling → lower end of the skill: with the true border and speeds this one still beats the strongest
prediction (docs/gate.md, what these predictions cannot do)."""
LAYOUTS: dict[str, tuple[list[int], list[int]]] = {
    "whole picture": ([], []),
    "two bands": ([24], []),
    "two columns": ([], [24]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_regions_that_scroll_on_with_any_filling_do_not_pass(layout: str) -> None:
    rows, columns = LAYOUTS[layout]
    clips: list[np.ndarray] = []
    made: dict[str, list[np.ndarray]] = {fill: [] for fill in ("mean", "fading", "edge")}
    for seed in range(CLIPS):
        frames, speeds = split(np.random.default_rng([7, seed]), rows, columns)
        clips.append(frames)
        borders = [
            np.s_[top:bottom, left:right]
            for top, bottom in zip([0, *rows], [*rows, SIDE], strict=True)
            for left, right in zip([0, *columns], [*columns, SIDE], strict=True)
        ]
        for fill, of_clips in made.items():
            predicted = np.empty((STEPS, SIDE, SIDE, 3))
            for place, speed in zip(borders, speeds, strict=True):
                known = frames[(slice(CONTEXT), *place)]
                predicted[(slice(None), *place)] = moved_on(known[-1], speed, fill, known.mean(axis=(0, 1, 2)))
            of_clips.append(predicted)
    context, true = np.stack(clips)[:, :CONTEXT], np.stack(clips)[:, CONTEXT:]
    found = baselines(context, true, np.arange(CLIPS), None)
    assert found.mse_BS[found.strongest].mean() < 0.4 * found.mse_BS[LAST].mean()
    for fill, of_clips in made.items():
        low = skill(np.stack(of_clips), true, np.arange(CLIPS), found)[1]
        assert low <= BEATEN.get((layout, fill), 0.0), fill
    assert skill(true, true, np.arange(CLIPS), found)[1] > 0.9


@pytest.mark.parametrize(("rows", "columns"), [([24], []), ([], [24]), ([12, 32], []), ([24], [24])])
def test_the_regions_and_their_speeds_are_found(rows: list[int], columns: list[int]) -> None:
    frames, speeds = split(np.random.default_rng(3), rows, columns)
    found = find_motions(frames[:CONTEXT])
    assert found is not None
    for place, speed in (
        zip(
            [(top, left) for top in [12, 36, 44][: len(rows) + 1] for left in [8, 40][: len(columns) + 1]],
            speeds,
            strict=True,
        )
        if len(rows) < 2
        else zip([(6, 8), (22, 8), (40, 8)], speeds, strict=True)
    ):
        own = [one for one in found.regions if _holds(one.rows, place[0]) and _holds(one.columns, place[1])]
        assert [tuple(one.speed_2) for one in own] == [speed]


def _holds(ends: slice, place: int) -> bool:
    return bool(ends.start <= place < ends.stop)


def squares(seed: int, size: int, bounce: bool) -> np.ndarray:
    """Return frames of two squares over a plain ground, which turn at the border or stay inside of it."""
    rng, frames = np.random.default_rng([size, seed]), np.tile(GREEN, (LENGTH, SIDE, SIDE, 1))
    most = SIDE - size
    for number, colour in enumerate(((200, 60, 50), (60, 80, 210))):
        speed = rng.uniform(1, 2, 2) * rng.choice([-1, 1], 2)
        start = rng.uniform(0, most, 2) if bounce else np.array([most / 2, number * most]) - speed * LENGTH / 2
        for step, frame in enumerate(frames):
            place = start + step * speed
            turned = np.mod(place, 2 * most)
            top, left = (np.minimum(turned, 2 * most - turned) if bounce else place.clip(0, most)).astype(int)
            frame[top : top + size, left : left + size] = colour
    return frames


@pytest.mark.parametrize("size", [8, 14])
def test_objects_that_move_on_are_drawn_at_their_last_speed(size: int) -> None:
    errors, still = [], []
    for seed in range(CLIPS):
        frames = squares(seed, size, bounce=True)
        found = moved_parts(frames[:CONTEXT], STEPS)
        assert found is not None
        true = frames[CONTEXT:].transpose(0, 3, 1, 2).astype(float)
        errors.append([np.square(one - true).mean() for one in (found.objects_SCHW, found.bounced_SCHW)])
        still.append(np.square(frames[CONTEXT - 1].transpose(2, 0, 1) - true).mean())
    objects, bounced = np.mean(errors, axis=0)
    assert min(objects, bounced) < 0.6 * np.mean(still)
    assert bounced < objects


def test_a_picture_that_stands_still_has_no_moved_parts() -> None:
    frames = np.tile(texture(np.random.default_rng(0), SIDE, SIDE), (CONTEXT, 1, 1, 1))
    assert find_motions(frames) is None
    assert moved_parts(frames, STEPS) is None
    assert moved_parts(frames[:1], STEPS) is None


def test_what_leaves_and_comes_in_again_on_the_other_side_is_predicted() -> None:
    picture = texture(np.random.default_rng(1), SIDE, SIDE)
    frames = np.stack([np.roll(picture, (2 * step, -3 * step), axis=(0, 1)) for step in range(LENGTH)])
    found = moved_parts(frames[:CONTEXT], STEPS)
    assert found is not None
    np.testing.assert_array_equal(found.wrapped_SCHW, frames[CONTEXT:].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(("share", "passes"), [(0.0, True), (0.5, True), (1.5, False), (100.0, False)])
def test_where_no_model_is_needed_a_model_has_to_be_nearly_exact_too(share: float, passes: bool) -> None:
    pictures = [texture(np.random.default_rng([9, seed]), SIDE, SIDE) for seed in range(CLIPS)]
    clips = np.stack([[np.roll(one, 3 * step, axis=1) for step in range(LENGTH)] for one in pictures])
    context, true = clips[:, :CONTEXT], clips[:, CONTEXT:]
    found = baselines(context, true, np.arange(CLIPS), None)
    assert found.strongest == NO_MODEL_NEEDED
    assert found.meaning.startswith(NO_MODEL_NEEDED)
    last = found.mse_BS[LAST].mean()
    np.testing.assert_allclose(found.mse_BS[NO_MODEL_NEEDED].mean(), EXACT_SHARE * last)
    error = np.full(true.shape, 255 * (share * EXACT_SHARE * last) ** 0.5)
    measured = np.square(error / 255).mean(axis=(1, 2, 3, 4))
    assert (measured.mean() < found.mse_BS[found.strongest].mean()) == passes


def test_what_is_behind_an_object_has_the_colour_of_its_nearest_surroundings() -> None:
    """Of 24 columns the left half is 0 and the right half 240, and a hole begins one column right of the edge."""
    picture = np.zeros((1, 24, 24), np.uint8)
    picture[:, :, 12:] = 240
    known = np.ones((24, 24), bool)
    known[8:16, 13:16] = False
    filled = _filled(np.where(known, picture, 77).astype(np.uint8), known)[0]
    assert (filled[known] == picture[0][known]).all()
    assert filled[11, 13] > 180, "the nearest column counts most"
    assert filled[11, 15] > filled[11, 14]
