"""Near copies of clips are found in other encodings; other clips of the same game are no copies.

pytest tests/unit/reference/data/test_near_copies.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.power.world import play
from tinyworlds_gate.reference.data.frame_codes import (
    KnownFrames,
    code_distance,
    frame_codes,
    known_frames,
    read_known,
    write_known,
)
from tinyworlds_gate.reference.data.near_copies import (
    Chance,
    different_pictures,
    shared_by_chance,
    shared_courses,
)

EPISODES, LENGTH, SIZE, CLIP = 24, 40, 64, 15


def game(seed: int = 0, episodes: int = EPISODES) -> np.ndarray:
    """Return frames uint8 [E, LENGTH, SIZE, SIZE, C]: squares that move over a picture of the episode's own."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 200, (episodes, 4, 4, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    frames = pictures[:, None].repeat(LENGTH, axis=1)
    for episode in frames:
        at, step = rng.integers(0, SIZE, 2), rng.integers(2, 5, 2)
        for frame in episode:
            y, x = at % (SIZE - 10)
            frame[y : y + 10, x : x + 10] = 255
            at = at + step
    return frames


FRAMES = game()


def known_of(frames: np.ndarray) -> KnownFrames:
    flat = frames.reshape(-1, *frames.shape[2:])
    episode = np.repeat(np.arange(len(frames)), frames.shape[1])
    return known_frames([(0, flat)], episode, range(len(frames)), name="game.h5", stride=1)


KNOWN = known_of(FRAMES)
CLIPS = FRAMES[:, 12 : 12 + CLIP]


def codes_of(clips: np.ndarray) -> np.ndarray:
    return frame_codes(clips.reshape(-1, *clips.shape[2:])).reshape(*clips.shape[:2], -1)


def noise(levels: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-levels, levels + 1, CLIPS.shape)


def brighter(by: int | np.ndarray) -> np.ndarray:
    return np.clip(CLIPS.astype(int) + by, 0, 255).astype(np.uint8)


def as_jpeg(frame: np.ndarray) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file))


def resized(frame: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize((SIZE // 2, SIZE // 2), Image.Resampling.BOX))


def each(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    frames = np.stack([change(one) for one in CLIPS.reshape(-1, SIZE, SIZE, 3)])
    return frames.reshape(*CLIPS.shape[:2], *frames.shape[1:])


COPIES: dict[str, Callable[[], np.ndarray]] = {
    "the same": lambda: CLIPS,
    "one level more": lambda: brighter(1),
    "two levels less": lambda: brighter(-2),
    "noise of one level": lambda: brighter(noise(1)),
    "noise of four levels": lambda: brighter(noise(4)),
    "another encoding": lambda: each(as_jpeg),
    "one frame later": lambda: FRAMES[:, 13 : 13 + CLIP],
    "every second frame": lambda: FRAMES[:, 2 : 2 + 2 * CLIP : 2],
    "every frame twice": lambda: FRAMES[:, 12 : 12 + CLIP].repeat(2, axis=1)[:, :CLIP],
    "half of the size": lambda: each(resized),
    "half of another clip": lambda: np.concatenate([CLIPS[:, :9], game(7)[:, :6]], axis=1),
}


def copied(clips: np.ndarray, known: KnownFrames = KNOWN) -> np.ndarray:
    """Return which clips uint8 [K, T, H, W, C] are copies, bool [K]."""
    return shared_courses(codes_of(clips), known) >= shared_by_chance(known, clips.shape[1]).least


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("kind", COPIES)
def test_near_copies_are_found(kind: str) -> None:
    clips = COPIES[kind]()
    assert copied(clips).mean() >= 0.9
    assert (
        shared_by_chance(KNOWN, CLIP).unexplained(shared_courses(codes_of(clips), KNOWN), np.arange(len(clips)))
        is not None
    )


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    "clips",
    [game(1)[:, :CLIP], CLIPS[:, ::-1], np.concatenate([CLIPS[:, :6], game(2)[:, :9]], axis=1)],
    ids=["other episodes", "backwards", "a third of a clip"],
)
def test_other_clips_are_no_copies(clips: np.ndarray) -> None:
    assert not copied(clips).any()


def faint(frames: np.ndarray, share: float) -> np.ndarray:
    """Return frames with so much less contrast, so that the squares move by few levels."""
    return np.rint(120 + (frames.astype(float) - 120) * share).astype(np.uint8)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("share", [0.5, 0.1, 0.05, 0.03])
def test_games_in_which_little_changes_are_compared_too(share: float) -> None:
    frames = faint(FRAMES, share)
    known, clips = known_of(frames), frames[:, 12 : 12 + CLIP]
    assert copied(clips, known).all(), "the same pixels"
    assert not copied(faint(game(1), share)[:, :CLIP], known).any()


@pytest.mark.requirement("G5")
def test_a_faint_dot_on_a_still_picture_tells_its_episodes_apart() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 200, (EPISODES, 1, 4, 4, 3), np.uint8).repeat(4, 2).repeat(4, 3).repeat(12, 1)
    for frame in range(12):
        frames[np.arange(EPISODES), frame, 2 + frame, rng.integers(16, size=EPISODES)] += 14
    known = known_of(frames[: EPISODES // 2])
    assert copied(frames, known).tolist() == [True] * (EPISODES // 2) + [False] * (EPISODES // 2)


@pytest.mark.requirement("G5")
def test_a_still_scene_a_black_screen_and_a_menu_are_no_copies() -> None:
    still = FRAMES[:, 12:13].repeat(CLIP, axis=1)
    black_first = np.concatenate([np.zeros_like(CLIPS[:, :10]), game(3)[:, :5]], axis=1)
    known = known_of(np.concatenate([np.zeros_like(FRAMES[:, :20]), FRAMES], axis=1))
    for clips in (still, np.zeros_like(CLIPS), black_first):
        assert not copied(clips, known).any()


@pytest.mark.requirement("G5")
def test_a_title_screen_of_many_episodes_is_left_out_and_refuses_no_file() -> None:
    title = game(9, episodes=1)[:, :20]
    known = known_of(np.concatenate([title.repeat(EPISODES, axis=0), FRAMES], axis=1))
    clips = np.concatenate([title.repeat(EPISODES, axis=0), game(3)], axis=1)
    drawn = np.concatenate([clips[:, low : low + CLIP] for low in range(0, 60 - CLIP, 3)])
    assert copied(drawn, known)[:EPISODES].all()
    assert copied(drawn, known).mean() < 0.4
    assert (
        shared_by_chance(known, CLIP).unexplained(
            shared_courses(codes_of(drawn), known), np.arange(len(drawn)) % EPISODES
        )
        is None
    )


@pytest.mark.requirement("G5")
def test_of_episodes_that_copy_one_only_the_first_is_no_copy() -> None:
    copies = np.concatenate([FRAMES[:1], np.clip(FRAMES[:1].repeat(5, axis=0).astype(int) + 1, 0, 255), FRAMES[1:4]])
    known = known_of(copies.astype(np.uint8))
    clips = codes_of(copies[:, 5 : 5 + CLIP].astype(np.uint8))
    found = shared_courses(clips, known, np.arange(len(copies)), earlier=True) >= shared_by_chance(known, CLIP).least
    assert found.tolist() == [False, *[True] * 5, *[False] * 3]


@pytest.mark.requirement("G5")
def test_a_stride_is_a_speed_and_few_frames_say_nothing() -> None:
    strided = replace(KNOWN, stride=3)
    assert copied(FRAMES[:, 1:38:3], strided).all(), "read at the stride"
    assert copied(CLIPS, strided).all(), "frame by frame"
    assert not copied(game(1)[:, 1:38:3], strided).any()
    alone, short = known_of(FRAMES[:1]), known_of(FRAMES[:, : CLIP - 1])
    assert [shared_by_chance(one, CLIP).shares.sum() for one in (alone, short)] == [0, 0]
    assert [shared_by_chance(one, CLIP).least for one in (alone, short)] == [0.5, 0.5]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("shares", "least"),
    [
        ([0.3] * 90 + [0.5] * 10, 0.5),
        ([0.3] * 60 + [0.6] * 30 + [0.8] * 10, 0.7),
        ([0.6] * 70 + [1.0] * 30, 1.0),
        ([0.0] * 70 + [1.0] * 30, 0.5),
    ],
    ids=["rich", "few states", "fewer", "copied episodes"],
)
def test_a_course_that_is_rare_among_independent_episodes_makes_a_copy(shares: list[float], least: float) -> None:
    chance = Chance(np.array(shares))
    assert chance.least == least
    courses, episode = np.repeat([1.0, 0.0], [60, 40]), np.arange(100)
    assert (chance.unexplained(courses, episode) is not None) is (shares.count(1.0) == 0)
    assert chance.unexplained(courses, np.where(episode < 60, 0, episode)) == chance.unexplained(courses, episode)
    assert Chance(np.zeros(9)).unexplained(np.repeat([1.0, 0.0], [20, 80]), np.repeat([0, 1], [20, 80])) is None


def test_the_lamp_world_has_no_copies_between_its_episodes() -> None:
    frames, _ = play(0)
    assert not shared_courses(codes_of(frames), known_of(frames), np.arange(len(frames))).any()


@pytest.mark.parametrize("size", [16, 50, 64, 128])
def test_the_distance_of_codes_is_that_of_the_frames(size: int) -> None:
    grid = np.random.default_rng(0).integers(60, 190, (20, 4, 4, 3), np.uint8)
    pictures = np.stack([np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BOX)) for one in grid])
    assert code_distance(frame_codes(pictures), frame_codes(pictures)).max() == 0
    moved = np.clip(pictures.astype(int) + 12, 0, 255).astype(np.uint8)
    assert np.median(code_distance(frame_codes(pictures), frame_codes(moved))) == pytest.approx(12 * 0.7, rel=0.1)


def test_only_new_pictures_are_recorded_and_each_episode_begins_anew() -> None:
    still = FRAMES[:2, :1].repeat(6, axis=1)
    still[1, 3:] = FRAMES[3, 0]
    known = known_of(still)
    assert (known.frame.tolist(), known.episode.tolist(), known.count) == ([0, 6, 9], [0, 1, 1], 12)
    blocks = [(low, still.reshape(12, SIZE, SIZE, 3)[low : low + 5]) for low in (0, 5, 10)]
    again = known_frames(blocks, np.repeat([0, 1], 6), [1], name="x", stride=1)
    assert (again.frame.tolist(), again.count) == ([6, 9], 6)


def test_recorded_codes_are_read_as_written_and_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    write_known(path, [KNOWN], {"dynamics": "it has no manifest"})
    (found,), unknown = read_known(path)
    assert np.array_equal(found.codes, KNOWN.codes)
    assert (found.name, found.count, unknown) == ("game.h5", KNOWN.count, {"dynamics": "it has no manifest"})
    path.write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"is not an HDF5 file \(7 bytes\); a whole file of frame codes"):
        read_known(path)


def test_different_pictures_are_counted_up_to_a_limit() -> None:
    assert different_pictures(KNOWN.codes) == 8
    assert different_pictures(known_of(FRAMES[:3, :1].repeat(9, axis=1)).codes) == 3
