"""Importing a video: centre crop, frame size and rate, and errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.data_files import write_video
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.import_video import centre_square, episodes_of, import_video


def _brightening(count: int, height: int = 48, width: int = 80) -> np.ndarray:
    """Write a video: frame i is grey of brightness 3 i, with black quarters left and right of the centre square."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    border = (width - height) // 2
    frames[:, :, border : width - border] = (np.arange(count) * 3)[:, None, None, None]
    return frames


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of two seconds at 30 frames per second."""
    return write_video(tmp_path / "play.mp4", _brightening(60), fps=30)


def test_a_video_becomes_square_frames_at_fifteen_a_second(tmp_path: Path, video: Path) -> None:
    seen: list[tuple[int, int]] = []
    path, notes = import_video(
        video, "Foo", project_root=tmp_path, frame_size=32, progress=lambda done, total: seen.append((done, total))
    )
    data = load_frames(path)
    assert notes == []
    assert path == tmp_path / "data" / "foo_frames.h5"
    assert data.frames.shape == (30, 32, 32, 3)
    brightness = data.frames[:, 8:-8, 8:-8].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, np.arange(0, 60, 2) * 3, atol=5)
    assert data.attrs["fps"] == 15
    assert dataset_stride(path, "FOO", fps=15) == 1
    assert seen == [(30, 0)]


def test_the_rate_can_be_chosen_up_to_the_videos_own(tmp_path: Path, video: Path) -> None:
    ten = load_frames(import_video(video, "ten", project_root=tmp_path, frame_size=16, fps=10).path)
    own = load_frames(import_video(video, "own", project_root=tmp_path, frame_size=16, fps=30).path)
    assert (len(ten.frames), len(own.frames)) == (20, 60)
    np.testing.assert_allclose(ten.frames[:, 8, 8, 0], np.arange(0, 60, 3) * 3, atol=5)


def test_a_rate_above_the_videos_own_is_refused(tmp_path: Path, video: Path) -> None:
    with pytest.raises(DataError, match=r"--fps 60 is not allowed: play.mp4 has 30 frames per second; fix: --fps 15"):
        import_video(video, "foo", project_root=tmp_path, fps=60)
    assert not (tmp_path / "data" / "foo_frames.h5").exists()


def test_the_centre_square_is_kept_whichever_side_is_longer() -> None:
    numbers = np.arange(6 * 10).reshape(6, 10, 1)
    np.testing.assert_array_equal(centre_square(numbers), numbers[:, 2:8])
    np.testing.assert_array_equal(centre_square(numbers.transpose(1, 0, 2)), numbers[:, 2:8].transpose(1, 0, 2))


def test_an_existing_dataset_is_not_overwritten(tmp_path: Path, video: Path) -> None:
    import_video(video, "foo", project_root=tmp_path, frame_size=16)
    with pytest.raises(DataError, match=r"foo_frames\.h5 exists already and is never overwritten"):
        import_video(video, "foo", project_root=tmp_path, frame_size=16)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(DataError, match=r"notes\.mp4 is not a video that can be opened"):
        import_video(text, "foo", project_root=tmp_path)


def test_a_video_damaged_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
    video = write_video(tmp_path / "play.avi", noise, fps=30, codec="png", pixels="rgb24")
    damaged = bytearray(video.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 6000] = bytes(6000)
    video.write_bytes(damaged)
    with pytest.raises(DataError, match=r"play\.avi is damaged after \d+ of its frames .*nothing was written"):
        import_video(video, "foo", project_root=tmp_path, frame_size=16)
    assert [file.name for file in (tmp_path / "data").iterdir()] == [".foo_frames.h5.lock"]


def test_a_video_cut_off_before_its_index_is_refused(tmp_path: Path, video: Path) -> None:
    video.write_bytes(video.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"play\.mp4 is not a video that can be opened"):
        import_video(video, "foo", project_root=tmp_path)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match=r"song.wav has no video stream \(sound only\?\)"):
        import_video(path, "foo", project_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "frame_size", "message"),
    [
        ("crafter", 32, "--name crafter is reserved for the generated dataset"),
        (
            "foo/bar",
            32,
            "--name foo/bar cannot be used as `dataset: FOO/BAR`: a name begins .*: --name game_foo_bar",
        ),
        ("1UP", 32, "--name 1UP cannot be used as `dataset: 1UP`: a name begins with a letter"),
        ("_up", 32, "a name begins with a letter"),
        ("no", 32, "YAML reads `dataset: no` as False, not as text; fix: --name no_game"),
        ("On", 32, "YAML reads `dataset: On` as True"),
        ("Null", 32, "YAML reads `dataset: Null` as None"),
        ("foo", 4, "--frame-size 4 is not allowed; at least 8 pixels"),
    ],
)
def test_a_bad_name_or_size_is_refused(tmp_path: Path, video: Path, name: str, frame_size: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        import_video(video, name, project_root=tmp_path, frame_size=frame_size)


def _timed_video(path: Path, times_s: Sequence[float | None], codec: str = "mpeg4", **stream_options: Any) -> Path:
    """Write a video whose frame i is grey of brightness 3 i and is shown at its time."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=30)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in stream_options.items():
            setattr(stream.codec_context, name, value)
        for index, (picture, time) in enumerate(zip(_brightening(len(times_s), 32, 32), times_s, strict=True)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * (index / 30 if time is None else time)), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_pause_neither_speeds_the_game_up_nor_joins_what_lies_before_and_after_it(tmp_path: Path) -> None:
    times = [index / 30 for index in range(30)] + [11 + index / 30 for index in range(30)]
    path, notes = import_video(_timed_video(tmp_path / "play.mkv", times), "foo", project_root=tmp_path, frame_size=16)
    data = load_frames(path)
    np.testing.assert_allclose(data.frames[:, 8, 8, 0], np.arange(0, 60, 2) * 3, atol=8)
    assert data.has_true_episodes
    assert data.episode[14] != data.episode[15]
    assert notes == ["a new episode begins at each of 1 breaks: a pause from 1.0 s to 11.0 s"]


def test_a_frame_that_is_shown_for_half_a_second_is_kept_for_that_long(tmp_path: Path) -> None:
    """Screen recorders leave out frames that are equal to the one before."""
    times = [index / 30 for index in range(15)] + [1 + index / 30 for index in range(15)]
    path, notes = import_video(_timed_video(tmp_path / "play.mkv", times), "foo", project_root=tmp_path, frame_size=16)
    shown = load_frames(path).frames[:, 8, 8, 0].astype(int)
    assert (len(shown), notes) == (23, [])
    np.testing.assert_allclose(shown[7:15], 14 * 3, atol=6)
    np.testing.assert_allclose(shown[15:], np.arange(15, 30, 2) * 3, atol=6)


def test_a_recording_that_was_cut_off_is_taken_up_to_there_and_the_command_says_so(tmp_path: Path) -> None:
    whole = _timed_video(tmp_path / "play.mkv", [index / 30 for index in range(300)])
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    path, notes = import_video(whole, "foo", project_root=tmp_path, frame_size=16)
    assert 40 < len(load_frames(path).frames) < 110
    (note,) = notes
    assert re.search(r"states 10\.0 s and its pictures end after [3-7]\.\d s: it was cut off|ends within a frame", note)


def test_frames_without_times_are_taken_at_the_rate_that_the_stream_states(tmp_path: Path) -> None:
    raw = _timed_video(tmp_path / "play.m4v", [None] * 60)
    path, notes = import_video(raw, "foo", project_root=tmp_path, frame_size=16)
    assert abs(len(load_frames(path).frames) - 30) <= 6
    assert all("frames have no time; they were taken as" in note for note in notes)


def test_a_turned_video_is_turned_back_and_wide_pixels_are_stretched(tmp_path: Path) -> None:
    import av

    pictures = np.zeros((4, 32, 64, 3), np.uint8)
    pictures[:, :8] = 255  # white at the top
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        stream.set_display_rotation(-90)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    path, notes = import_video(tmp_path / "turned.mp4", "turned", project_root=tmp_path, frame_size=16)
    frame = load_frames(path).frames[0, :, :, 0]
    assert frame[8, -1] > 200, "a turn of 90 degrees to the right brings the top to the right"
    assert frame[8, 0] < 50
    assert notes == ["it is turned by -90 degrees, as its player shows it"]
    wide = _timed_video(tmp_path / "wide.mkv", [0.0, 0.1, 0.2], sample_aspect_ratio=Fraction(2, 1))
    _, notes = import_video(wide, "wide", project_root=tmp_path, frame_size=16)
    assert notes == ["its pixels are 2:1 wide, and were stretched to squares"]


@pytest.mark.parametrize(
    ("counts", "episodes", "longest"),
    [([40, 40], 8, 10), ([1, 79], 8, 12), ([3] * 8, 8, 3), ([5000, 5000], 38, 264), ([1] * 100, 100, 1)],
)
def test_recordings_become_episodes_and_few_of_them_are_divided(counts: list[int], episodes: int, longest: int) -> None:
    recording = np.repeat(np.arange(len(counts)), counts)
    episode = episodes_of(recording)
    assert (np.diff(episode) >= 0).all()
    assert (np.diff(episode)[np.diff(recording) > 0] == 1).all()
    assert abs(episode[-1] + 1 - episodes) <= 1
    assert np.bincount(episode).max() <= longest
    assert (np.bincount(episode) > 0).all()


def test_a_missing_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.mp4: there is no such video file"):
        import_video(tmp_path / "gone.mp4", "foo", project_root=tmp_path)
