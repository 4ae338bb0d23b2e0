"""A fixed evaluation set: required contents, and refusal when the training data shares its clips or worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import write_h5
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.evaluation_set import frames_seen, open_evaluation_set, unseen_part
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames

SIDE, LENGTH, CLIP = 16, 6, 4


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, SIDE, SIDE, 3), np.uint8)


def write_set(path: Path, seed: int = 1, **changes: Any) -> Path:
    """Write three episodes of six frames and two clips of four; ``changes`` replace a dataset, or drop it (None)."""
    known: dict[str, Any] = {
        "frames": noise(3 * LENGTH, seed),
        "episode": np.arange(3).repeat(LENGTH),
        "clip_starts": np.array([0, 8], np.int32),
    }
    return write_h5(path, **{name: values for name, values in (known | changes).items() if values is not None})


def write_data(path: Path, seed: int = 0) -> FramesData:
    return load_frames(write_h5(path, frames=noise(10 * LENGTH, seed), episode=np.arange(10).repeat(LENGTH)))


@pytest.mark.requirement("G5")
def test_opening_an_evaluation_set_returns_its_clips_and_episodes(tmp_path: Path) -> None:
    found = open_evaluation_set(write_set(tmp_path / "e.h5"), frame_size=SIDE, length=CLIP)
    assert found.starts.tolist() == [0, 8]
    assert found.episodes.tolist() == [0, 1]
    assert found.episodes_in_file == 3


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"clip_starts": None},
        r"evaluation_file: .*e\.h5 names no clips \(no dataset `clip_starts`\); set evaluation_file to a frames file",
    ),
    ({"clip_starts": np.array([0, 0])}, r"evaluation_file: .*`clip_starts` names a clip twice; name each once"),
    ({"clip_starts": np.array([0.0, 8.0])}, r"`clip_starts` has shape \[2\] and type float64; whole numbers \[K\]"),
    ({"clip_starts": np.zeros((0,), int)}, r"`clip_starts` has shape \[0\]"),
    (
        {"clip_starts": np.array([4])},
        r"the clip of 4 frames from 4 leaves its episode after 2 frames; choose an earlier",
    ),
    ({"clip_starts": np.array([16])}, r"a clip of 4 frames from 16 does not lie in the file's 18 frames"),
    ({"episode": None}, r"evaluation_file: .* does not record its episodes .* so no confidence interval"),
    (
        {"frames": np.zeros((18, 8, 8, 3), np.uint8)},
        r"holds frames of 8 x 8 px, but the models are trained on 16 x 16; .* never resized. Set frame_size to 8, or",
    ),
    (
        {"frames": np.zeros((18, SIDE, SIDE), np.uint8)},
        r"`frames` has shape .*; set evaluation_file to a frames file with `episode` and",
    ),
]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said[:30] for _, said in WRONG])
def test_a_file_that_is_not_an_evaluation_set_is_reported_with_the_setting_and_its_fix(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        open_evaluation_set(write_set(tmp_path / "e.h5", **changes), frame_size=SIDE, length=CLIP)


def test_a_missing_evaluation_set_is_reported_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.h5: there is no such file; .* or leave it out"):
        open_evaluation_set(tmp_path / "gone.h5", frame_size=SIDE, length=CLIP)


@pytest.mark.requirement("G5")
def test_an_evaluation_set_of_other_frames_is_not_seen(tmp_path: Path) -> None:
    data = write_data(tmp_path / "d.h5")
    found = open_evaluation_set(write_set(tmp_path / "e.h5"), frame_size=SIDE, length=CLIP)
    assert unseen_part(found, data, length=CLIP).shared_frames == 0


def planted(count: int) -> Callable[[np.ndarray], np.ndarray]:
    """Overwrite the first frames of the clip at 8 with frames of episode 9 of the training data."""

    def plant(frames: np.ndarray) -> np.ndarray:
        frames[8 : 8 + count] = noise(10 * LENGTH, 0)[55 : 55 + count]
        return frames

    return plant


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("count", [2, 4])
def test_a_clip_that_is_half_in_the_training_data_is_refused(tmp_path: Path, count: int) -> None:
    data = write_data(tmp_path / "d.h5")
    path = write_set(tmp_path / "e.h5", frames=planted(count)(noise(3 * LENGTH, 1)))
    found = open_evaluation_set(path, frame_size=SIDE, length=CLIP)
    said = rf"1 of the 2 clips of .*e\.h5 occur in .*d\.h5, the clip from 8 with {count} of its 4 frames\. The verdict"
    with pytest.raises(DataError, match=said):
        unseen_part(found, data, length=CLIP)


CASES = [(20, 1, False), (19, 1, True), (40, 2, False), (40, 3, True)]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("clips", "planted_clips", "refused"), CASES)
def test_a_few_clips_of_the_training_data_are_left_out_and_counted(
    tmp_path: Path, clips: int, planted_clips: int, refused: bool
) -> None:
    data = write_data(tmp_path / "d.h5")
    frames = noise(clips * CLIP, 1)
    for number in range(planted_clips):
        frames[number * CLIP : number * CLIP + 3] = data.frames[number * CLIP : number * CLIP + 3]
    path = tmp_path / "e.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames)
        file.create_dataset("episode", data=np.repeat(np.arange(clips), CLIP))
        file.create_dataset("clip_starts", data=np.arange(clips) * CLIP)
    found = open_evaluation_set(path, frame_size=SIDE, length=CLIP)
    if refused:
        with pytest.raises(DataError, match=f"{planted_clips} of the {clips} clips of .* at most 5% of the clips"):
            unseen_part(found, data, length=CLIP)
        return
    left = unseen_part(found, data, length=CLIP)
    assert left.left_out == tuple(range(0, planted_clips * CLIP, CLIP))
    assert left.evaluation.starts.tolist() == list(range(planted_clips * CLIP, clips * CLIP, CLIP))
    assert left.evaluation.episodes.tolist() == list(range(planted_clips, clips))
    assert left.shared_frames == 0


def test_fewer_common_frames_are_counted(tmp_path: Path) -> None:
    data = write_data(tmp_path / "d.h5")
    path = write_set(tmp_path / "e.h5", frames=planted(1)(noise(3 * LENGTH, 1)))
    found = unseen_part(open_evaluation_set(path, frame_size=SIDE, length=CLIP), data, length=CLIP)
    assert (found.shared_frames, found.left_out, len(found.evaluation.starts)) == (1, (), 2)


@pytest.mark.requirement("G5")
def test_a_game_of_few_states_repeats_its_frames_in_any_set(tmp_path: Path) -> None:
    states = noise(9, 0)
    played = [states[np.random.default_rng(seed).integers(9, size=10 * LENGTH)] for seed in range(2)]
    data = replace(write_data(tmp_path / "d.h5"), frames=played[0])
    path = write_set(tmp_path / "e.h5", frames=played[1][: 3 * LENGTH])
    found = unseen_part(open_evaluation_set(path, frame_size=SIDE, length=CLIP), data, length=CLIP)
    assert (found.left_out, len(found.evaluation.starts), found.shared_frames) == ((), 2, 2 * CLIP)


def test_frames_are_compared_pixel_for_pixel_and_black_ones_say_nothing() -> None:
    data = noise(50, 0)
    data[7] = 0
    clips = np.stack([data[[3, 7, 20]], noise(3, 9)])
    clips[1, 2] = data[11]
    clips[1, 2, 0, 0, 0] ^= 1
    assert frames_seen(clips, data).tolist() == [[True, False, True], [False, False, False]]


def test_equal_keys_alone_are_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tinyworlds_gate.reference.data.evaluation_set._keys", lambda frames: np.zeros(len(frames), "u8")
    )
    data = noise(20, 0)
    clips = np.stack([data[[4, 19]], noise(2, 9)])
    assert frames_seen(clips, data).tolist() == [[True, True], [False, False]]


def crafter(path: Path, seed: int) -> Path:
    with h5py.File(path, "r+") as file:
        file.attrs.update({"game": "crafter", "seed": seed})
    return path


@pytest.mark.requirement("G5")
def test_a_crafter_world_in_both_files_is_refused_whatever_was_played_in_it(tmp_path: Path) -> None:
    crafter(write_data(tmp_path / "d.h5").path, 1)
    data = load_frames(tmp_path / "d.h5")
    found = open_evaluation_set(crafter(write_set(tmp_path / "e.h5"), 1), frame_size=SIDE, length=CLIP)
    with pytest.raises(DataError, match=r"both use Crafter's world 1009 \(by their `seed`\), .* with another seed"):
        unseen_part(found, data, length=CLIP)
    other = replace(found, attrs={"game": "crafter", "seed": 2})
    assert unseen_part(other, data, length=CLIP).shared_frames == 0
