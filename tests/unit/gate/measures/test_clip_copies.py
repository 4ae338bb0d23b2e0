"""Clips that show the frames of another clip, at the same or another time.

pytest tests/unit/gate/measures/test_clip_copies.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.clip_copies import _cells, find_copies

CONTEXT, STEPS = 2, 6


def film(seed: int, length: int = 40, side: int = 6, channels: int = 3) -> np.ndarray:
    """Return frames of random cells, which change in every frame."""
    return np.random.default_rng(seed).integers(0, 256, (length, side, side, channels)).astype(np.uint8)


def still(value: int, length: int = 40) -> np.ndarray:
    return np.full((length, 6, 6, 3), value, np.uint8)


def copies(*clips: np.ndarray, episodes: list[int] | None = None) -> tuple[list[int], list[int], list[int]]:
    """Return copy_of, episodes and kept of clips of CONTEXT + STEPS frames."""
    frames = np.stack([clip[: CONTEXT + STEPS] for clip in clips])
    labels = np.array(episodes or range(len(clips)))
    found = find_copies(frames[:, :CONTEXT], frames[:, CONTEXT:], labels)
    assert labels.tolist() == (episodes or list(range(len(clips)))), "the labels that were passed stay"
    return found.copy_of.tolist(), found.episodes.tolist(), found.kept.tolist()


def joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


A, B, C = film(1), film(2), film(3)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("clips", "copy_of", "episodes"),
    [
        ([A], [0], [0]),
        ([A, B, C], [0, 1, 2], [0, 1, 2]),
        ([A, B, A, A], [0, 1, 0, 0], [3, 1, 3, 3]),
        ([A, joined(B[:CONTEXT], A[CONTEXT:])], [0, 0], [1, 1]),
        ([A, joined(A[:CONTEXT], B[CONTEXT:])], [0, 1], [0, 1]),
        ([A, joined(A[:1], B[1:])], [0, 1], [0, 1]),
        ([A, A[1:]], [0, 1], [1, 1]),
        ([A, A[4:]], [0, 1], [1, 1]),
        ([A, A[5:]], [0, 1], [0, 1]),
        ([A[4:], A], [0, 1], [1, 1]),
        ([A[5:], A], [0, 1], [0, 1]),
        ([A, B, joined(A[:CONTEXT], B[CONTEXT:])], [0, 1, 1], [0, 2, 2]),
    ],
    ids=[
        *("one", "others", "the same twice", "the same future", "the same context", "one frame of context"),
        *("one later", "half later", "more than half later", "half earlier", "more than half earlier", "of two"),
    ],
)
def test_clips_that_share_their_future_repeat_and_those_that_share_half_are_of_one_episode(
    clips: list[np.ndarray], copy_of: list[int], episodes: list[int]
) -> None:
    found = copies(*clips)
    assert found == (copy_of, episodes, [clip for clip, of in enumerate(copy_of) if of == clip])


def test_all_clips_of_a_shared_episode_get_its_label() -> None:
    assert copies(A, B, C, A, episodes=[7, 7, 8, 9]) == ([0, 1, 2, 0], [9, 9, 8, 9], [0, 1, 2])


def test_noise_hides_no_copy_and_another_motion_is_none() -> None:
    def mixed(share: float) -> np.ndarray:
        return (A * (1 - share) + B * share).astype(np.uint8)

    assert copies(A, mixed(0.2))[0] == [0, 0]
    assert copies(A, mixed(0.5))[0] == [0, 1]


def test_still_frames_are_the_same_only_in_the_same_place_and_to_rounding() -> None:
    assert copies(still(100), still(100))[0] == [0, 0]
    assert copies(still(100), still(101)) == ([0, 0], [1, 1], [0])
    assert copies(still(100), still(103)) == ([0, 1], [0, 1], [0, 1])
    quiet = joined(A[:4], still(100))
    later = joined(B[:3], still(100))
    assert copies(quiet, later)[:2] == ([0, 1], [0, 1]), "stillness at another time is no copy"


def shown_in_blocks(frames: np.ndarray, side: int) -> np.ndarray:
    """Return frames whose blocks of this side are plain, with the same means."""
    blocks = frames.astype(float)
    for top in range(0, frames.shape[1], side):
        for left in range(0, frames.shape[2], side):
            block = np.s_[:, top : top + side, left : left + side]
            blocks[block] = blocks[block].mean(axis=(1, 2), keepdims=True)
    return np.rint(blocks).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "side"), [((37, 20), 3), ((20, 37), 3), ((18, 18), 1), ((19, 5), 2), ((36, 36), 2), ((54, 7), 3)]
)
def test_a_frame_of_any_shape_is_compared_by_the_means_of_its_cells(shape: tuple[int, int], side: int) -> None:
    first = np.random.default_rng(5).integers(0, 256, (CONTEXT + STEPS, *shape, 3)).astype(np.uint8)
    for blocks, copy_of in ((side, [0, 0]), (side + 1, [0, 1])):
        frames = np.stack([first, shown_in_blocks(first, blocks)])
        found = find_copies(frames[:, :CONTEXT], frames[:, CONTEXT:], np.arange(2))
        assert found.copy_of.tolist() == copy_of


def cursor(seed: int, size: int, brighter: int = 0) -> np.ndarray:
    """Return frames of 128 px, in which only a few pixels move."""
    rng, frames = np.random.default_rng(seed), np.full((CONTEXT + STEPS, 128, 128, 3), 90 + brighter, np.uint8)
    for frame, (top, left) in zip(frames, rng.integers(0, 128 - size, (len(frames), 2)), strict=True):
        frame[top : top + size, left : left + size] = 200 + brighter
    return frames


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("size", [2, 3, 5])
def test_small_things_that_move_otherwise_make_no_copy_and_brighter_copies_are_found(size: int) -> None:
    clips = [cursor(seed, size) for seed in range(6)]
    assert copies(*clips)[0] == list(range(6))
    found = copies(*clips, clips[2], cursor(3, size, brighter=1))
    assert found[0] == [0, 1, 2, 3, 4, 5, 2, 3]
    assert len(set(found[1])) == 6


def level(seed: int, *, length: int, size: int, colours: tuple[int, int]) -> np.ndarray:
    """Return frames of 64 px of a level that scrolls and is the same in every game, with a ball of its own."""
    parts, rng = np.random.default_rng(5), np.random.default_rng([9, seed])
    world = parts.integers(*colours, (16, (2 * length + 128) // 4, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    at, speed, first = rng.integers(4, 56, 2), rng.choice([-3, -2, 2, 3], 2), int(rng.integers(length))
    frames = []
    for frame in range(first, first + CONTEXT + STEPS):
        shown = world[:, 2 * frame : 2 * frame + 64].copy()
        shown[at[0] : at[0] + size, at[1] : at[1] + size] = (240, 230, 60)
        frames.append(shown)
        speed = np.where((at + speed < 2) | (at + speed > 57), -speed, speed)
        at = at + speed
    return np.stack(frames)


LEVELS: dict[str, dict[str, Any]] = {
    "a short level": {"length": 60, "size": 4, "colours": (10, 150)},
    "a long level": {"length": 300, "size": 4, "colours": (10, 150)},
    "one beginning": {"length": 1, "size": 5, "colours": (10, 150)},
    "few colours": {"length": 30, "size": 6, "colours": (60, 90)},
}


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("kind", LEVELS)
def test_games_on_the_same_level_are_no_copies_and_their_copies_are_found(kind: str) -> None:
    games = [level(seed, **LEVELS[kind]) for seed in range(16)]
    assert copies(*games)[:2] == (list(range(16)), list(range(16)))
    noise = np.random.default_rng(1).integers(-8, 9, games[0].shape)
    again = [np.clip(games[3] + noise, 0, 255).astype(np.uint8), games[5], (games[7] * 0.97).astype(np.uint8)]
    assert copies(*games, *again)[0] == [*range(16), 3, 5, 7]


def test_cells_are_the_means_of_their_pixels_also_where_the_last_ones_are_smaller() -> None:
    frames = np.random.default_rng(4).integers(0, 256, (2, 3, 37, 40, 3)).astype(np.uint8)
    cells = _cells(frames).reshape(2, 3, 13, 14, 3)
    assert cells[1, 2, 0, 0] == pytest.approx(frames[1, 2, :3, :3].mean(axis=(0, 1)), rel=1e-5)
    assert cells[0, 1, 4, 13] == pytest.approx(frames[0, 1, 12:15, 39:].mean(axis=(0, 1)), rel=1e-5)
    assert cells[0, 1, 12, 13] == pytest.approx(frames[0, 1, 36:, 39:].mean(axis=(0, 1)), rel=1e-5)
    assert _cells(frames[:, :, :18, :18]).shape == (2, 3, 18 * 18 * 3)
    assert _cells(frames[:, :, :18, :19]).shape == (2, 3, 9 * 10 * 3)
