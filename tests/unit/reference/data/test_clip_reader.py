"""Reading single clips returns the same as loading the whole file, and refuses incomplete clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.data_files import numbered_frames, write_h5
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.data.clips import gather_clips
from tinyworlds_gate.reference.data.frames_file import load_frames


def whole_file(tmp_path: Path, count: int = 60) -> Path:
    return write_h5(
        tmp_path / "game_frames.h5",
        frames=numbered_frames(count),
        episode=np.repeat([4, 9, 2], [20, 25, count - 45]),
        actions=np.arange(count, dtype=np.uint8) % 6,
        player_position=np.arange(2 * count, dtype=np.int16).reshape(count, 2),
    )


@pytest.mark.parametrize(("stride", "frame_size"), [(1, 8), (1, 4), (3, 8)])
def test_clips_are_those_of_the_whole_file_loaded(tmp_path: Path, stride: int, frame_size: int) -> None:
    path, starts = whole_file(tmp_path), np.array([0, 2, 8])
    data = load_frames(path, frame_size=frame_size, stride=stride)
    found = read_clips(path, starts, 4, frame_size=frame_size, stride=stride)
    np.testing.assert_array_equal(found.frames, gather_clips(data.frames, starts, 4))
    np.testing.assert_array_equal(found.episode, data.episode[starts])
    assert data.player_position is not None
    assert found.player_position is not None
    np.testing.assert_array_equal(found.player_position, data.player_position[starts[:, None] + np.arange(4)])
    if stride == 1:
        assert data.actions is not None
        assert found.actions is not None
        np.testing.assert_array_equal(found.actions, data.actions[starts[:, None] + np.arange(4)])
    else:
        assert found.actions is None


def test_a_file_without_episodes_actions_and_positions_gives_clips_of_pseudo_episodes(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "game_frames.h5", frames=numbered_frames(80))
    found = read_clips(path, np.array([10, 31]), 5, frame_size=8)
    assert found.episode.tolist() == [1, 3]
    assert found.actions is None
    assert found.player_position is None


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (18, "the clip of 4 frames from 18 leaves its episode after 2 frames; choose an earlier start"),
        (57, "a clip of 4 frames from 57 does not lie in the file's 60 frames; allowed starts are 0 to 56"),
        (-1, "a clip of 4 frames from -1 does not lie in the file's 60 frames"),
    ],
)
def test_a_clip_that_cannot_be_whole_is_refused(tmp_path: Path, start: int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_clips(whole_file(tmp_path), np.array([0, start]), 4, frame_size=8)


def test_no_clip_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the list of clips is empty, so nothing can be measured"):
        read_clips(whole_file(tmp_path), np.array([], int), 4, frame_size=8)


def test_the_starts_of_episodes_may_stand_in_for_the_episode_of_each_frame(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "game_frames.h5", frames=numbered_frames(30), episode_starts=np.array([0, 10, 25]))
    data = load_frames(path)
    assert data.has_true_episodes
    assert data.episode.tolist() == [0] * 10 + [1] * 15 + [2] * 5
    with pytest.raises(DataError, match="the clip of 3 frames from 24 leaves its episode after 1 frames"):
        read_clips(path, np.array([24]), 3, frame_size=8)


@pytest.mark.parametrize("starts", [[1, 10], [0, 10, 10], [0, 30], [[0, 10]]])
def test_starts_of_episodes_that_make_no_sense_are_refused(tmp_path: Path, starts: list[int]) -> None:
    path = write_h5(tmp_path / "game_frames.h5", frames=numbered_frames(30), episode_starts=np.array(starts))
    with pytest.raises(DataError, match=r"`episode_starts` is .*; ascending frame indices are needed"):
        load_frames(path)


def test_the_clips_that_an_evaluation_set_names_are_read_with_it_unless_a_stride_moves_them(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "eval.h5", frames=numbered_frames(30), clip_starts=np.array([0, 15], np.int32))
    named = load_frames(path).clip_starts
    assert named is not None
    assert named.tolist() == [0, 15]
    assert load_frames(path, stride=2).clip_starts is None
