"""The two memory references: the published numbers on the evaluation set, closed forms, and a naive second version."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from tests.helpers.shared_files import SHARED, shared_is_required
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.measures.memory_references import local_view, memory_references
from tinyworlds_gate.reference.data.clips import gather_clips

EVAL_SET = SHARED / "eval" / "crafter_128.h5"
UNIT, BORDER, SIDE = 2, 1, 20
CONTEXT = 3


def walk(
    path: list[tuple[int, int]],
    seed: int = 0,
    flat: float | None = None,
    creature: tuple[int, int] | None = None,
    side: int = SIDE,
) -> tuple[np.ndarray, np.ndarray]:
    """One clip of a game with Crafter's geometry: uint8 [1, T, side, side, 3], positions [1, T, 2].

    The world is random tiles (or one colour), the player is drawn white, the creature stands on one tile and changes
    its colour in every frame. The inventory below changes too.
    """
    rng = np.random.default_rng(seed)
    unit, border = side // 9, side % 9 // 2
    world = rng.integers(0, 200, (64, 64, unit, unit, 3), np.uint8)  # [row, column, …]
    if flat is not None:
        world[:] = int(flat)
    frames = np.zeros((len(path), side, side, 3), np.uint8)
    for step, (x, y) in enumerate(path):
        for row in range(7):
            for column in range(9):
                place = (y - 3 + row, x - 4 + column)
                tile = np.full((unit, unit, 3), 20 * step, np.uint8) if place == creature else world[place]
                if (row, column) == (3, 4):
                    tile = np.full((unit, unit, 3), 255, np.uint8)
                top, left = border + row * unit, border + column * unit
                frames[step, top : top + unit, left : left + unit] = tile
        frames[step, border + 7 * unit : border + 9 * unit, border : border + 9 * unit] = rng.integers(0, 30)
    return frames[None], np.array([path], np.int16)


def naive(clip: np.ndarray, path: np.ndarray) -> tuple[list[float], list[float]]:
    """The definitions of docs/gate.md with a dictionary and loops, in float64."""
    frames = clip.astype(np.float64) / 255

    def tile(step: int, row: int, column: int) -> np.ndarray:
        top, left = BORDER + row * UNIT, BORDER + column * UNIT
        return frames[step, top : top + UNIT, left : left + UNIT]

    seen: dict[tuple[int, int], np.ndarray] = {}
    for step in range(CONTEXT):
        for row in range(7):
            for column in range(9):
                if (row, column) != (3, 4):
                    seen[path[step][0] + column - 4, path[step][1] + row - 3] = tile(step, row, column)
    middle, mean = np.median(list(seen.values()), axis=0), np.mean(list(seen.values()), axis=0)
    errors: tuple[list[float], list[float]] = ([], [])
    for step in range(CONTEXT, len(frames)):
        guesses = frames[CONTEXT - 1].copy(), frames[CONTEXT - 1].copy()
        for row in range(7):
            for column in range(9):
                place = (path[step][0] + column - 4, path[step][1] + row - 3)
                sharp = hedged = seen.get(place)
                if (row, column) == (3, 4):
                    sharp = hedged = tile(step, row, column)
                elif sharp is None:
                    nearest = min(seen, key=lambda one: abs(one[0] - place[0]) + abs(one[1] - place[1]))
                    sharp, hedged = middle, (seen[nearest] + mean) / 2
                top, left = BORDER + row * UNIT, BORDER + column * UNIT
                for guess, answer in zip(guesses, (sharp, hedged), strict=True):
                    guess[top : top + UNIT, left : left + UNIT] = answer
        for values, guess in zip(errors, guesses, strict=True):
            values.append(float(np.square(guess - frames[step]).mean()))
    return errors


STRAIGHT = [(30 + step, 30) for step in range(8)]
WINDING = [(30, 30), (30, 31), (31, 31), (31, 32), (32, 32), (32, 31), (32, 30), (31, 30)]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("path", [STRAIGHT, WINDING], ids=["straight on", "winding"])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_references_are_those_of_a_naive_second_version(path: list[tuple[int, int]], seed: int) -> None:
    clips, positions = walk(path, seed, creature=(31, 35))
    found = memory_references(clips, positions, CONTEXT)
    sharp, hedged = naive(clips[0], positions[0].astype(int))
    np.testing.assert_allclose(found.sharp_BS[0], sharp, rtol=1e-5)
    np.testing.assert_allclose(found.hedged_BS[0], hedged, rtol=1e-5)


def test_what_was_seen_costs_nothing_but_the_creature_and_the_inventory() -> None:
    """The player walks back over known ground; one tile of 63 changes its colour by 20 a frame."""
    path = [(30, 30), (31, 30), (32, 30), (31, 30), (30, 30)]
    clips, positions = walk(path, creature=(31, 29))
    found = memory_references(clips, positions, CONTEXT)
    inventory = clips[0, :, BORDER + 7 * UNIT, BORDER, 0].astype(float)
    for step in (0, 1):
        creature = (20 * (step + 1) / 255) ** 2 * UNIT * UNIT
        below = ((inventory[CONTEXT + step] - inventory[2]) / 255) ** 2 * 2 * UNIT * 9 * UNIT
        assert found.sharp_BS[0, step] == pytest.approx((creature + below) / SIDE**2)
    np.testing.assert_allclose(found.sharp_BS, found.hedged_BS)


def test_in_a_world_of_one_colour_unseen_ground_is_known_too() -> None:
    clips, positions = walk(STRAIGHT, flat=120)
    clips[:, :, BORDER + 7 * UNIT :] = 0
    found = memory_references(clips, positions, CONTEXT)
    assert found.sharp_BS.shape == (1, 5)
    np.testing.assert_allclose(found.sharp_BS, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.hedged_BS, 0.0, atol=1e-12)


def test_a_crafter_frame_has_nine_units_and_a_border_of_what_is_left() -> None:
    assert (local_view(128, 128).unit, local_view(128, 128).border) == (14, 1)
    assert (local_view(72, 72).unit, local_view(72, 72).border) == (8, 0)
    with pytest.raises(DataError, match="frames of 72 x 96 px are no Crafter view"):
        local_view(72, 96)


def test_positions_that_do_not_explain_the_pixels_are_refused() -> None:
    clips, positions = walk(STRAIGHT)
    with pytest.raises(DataError, match=r"the frames do not move with player_position: .* no daylight Crafter views"):
        memory_references(clips, -positions, CONTEXT)


def test_positions_that_no_player_could_take_are_refused() -> None:
    clips, positions = walk(STRAIGHT)
    positions[0, 4] = 900
    with pytest.raises(DataError, match=r"player_position spans \d+ tiles within a clip"):
        memory_references(clips, positions, CONTEXT)


@pytest.mark.requirement("G5")
def test_on_the_evaluation_set_the_published_references_and_baselines_are_reproduced_to_one_percent() -> None:
    if not EVAL_SET.exists():
        if shared_is_required():
            pytest.fail("under CI=true the evaluation set ../shared/eval/crafter_128.h5 must be there")
        pytest.skip("the fixed evaluation set ../shared/eval/crafter_128.h5 is not there")
    with h5py.File(EVAL_SET) as file:
        frames, positions, starts = (file[name][:] for name in ("frames", "player_position", "clip_starts"))
    clips = gather_clips(frames, starts, 15)
    found = memory_references(clips, positions[starts[:, None] + np.arange(15)], 3)
    assert found.sharp_BS.mean() == pytest.approx(0.0123, rel=0.01)
    assert found.hedged_BS.mean() == pytest.approx(0.0081, rel=0.01)
    true = clips[:, 3:].astype(np.float32) / 255
    copied = np.square(true - clips[:, 2:3].astype(np.float32) / 255).mean(dtype=np.float64)
    assert copied == pytest.approx(0.0303, rel=0.01)
    mean_frame = (frames.mean(axis=0) / 255).astype(np.float32)
    assert np.square(true - mean_frame).mean(dtype=np.float64) == pytest.approx(0.0325, rel=0.01)


def test_what_does_not_move_with_the_player_is_seen_in_every_row_and_column() -> None:
    """Only the last row of tiles stands still while the player walks; or only the last column, while he climbs."""
    pattern = np.random.default_rng(3).integers(0, 200, (SIDE, SIDE, 3), np.uint8)
    for path, place in (
        (STRAIGHT, np.s_[BORDER + 6 * UNIT : BORDER + 7 * UNIT, BORDER : BORDER + 9 * UNIT]),
        ([(y, x) for x, y in STRAIGHT], np.s_[BORDER : BORDER + 7 * UNIT, BORDER + 8 * UNIT : BORDER + 9 * UNIT]),
    ):
        clips, positions = walk(path, flat=120)
        memory_references(clips, positions, CONTEXT)
        clips[0][(slice(None), *place)] = pattern[place]
        with pytest.raises(DataError, match=r"differ by [\d.e+]+ \(squared, summed\), unshifted by 0; at most 50% of"):
            memory_references(clips, positions, CONTEXT)


def test_the_limits_of_a_path_and_of_a_view() -> None:
    clips, positions = walk([(4, 30), (5, 30), (4, 30), (4, 30)], flat=120)
    positions[0, 3, 0] = 4 + 63
    assert memory_references(clips, positions, CONTEXT).sharp_BS.shape == (1, 1)
    positions[0, 3, 0] = 4 + 64
    said = "player_position spans 64 tiles within a clip; Crafter's world has 64, so these are not the player's tiles"
    with pytest.raises(DataError, match=said):
        memory_references(clips, positions, CONTEXT)
    assert (local_view(9, 9).unit, local_view(9, 9).border, local_view(12, 12).border) == (1, 0, 1)
    for size in ((8, 8), (9, 10)):
        with pytest.raises(DataError, match="square ones of at least 9 px are needed"):
            local_view(*size)
