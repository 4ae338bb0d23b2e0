"""Importing a video: centre crop, frame size and rate, and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.data_files import write_video
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.import_video import centre_square, import_video


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
    path = import_video(
        video, "Foo", project_root=tmp_path, frame_size=32, progress=lambda done, total: seen.append((done, total))
    )
    data = load_frames(path)
    assert path == tmp_path / "data" / "foo_frames.h5"
    assert data.frames.shape == (30, 32, 32, 3)
    brightness = data.frames[:, 8:-8, 8:-8].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, np.arange(0, 60, 2) * 3, atol=5)
    assert data.attrs["fps"] == 15
    assert dataset_stride(path, "FOO", fps=15) == 1
    assert seen == [(30, 0)]


def test_the_rate_can_be_chosen_up_to_the_videos_own(tmp_path: Path, video: Path) -> None:
    ten = load_frames(import_video(video, "ten", project_root=tmp_path, frame_size=16, fps=10))
    own = load_frames(import_video(video, "own", project_root=tmp_path, frame_size=16, fps=30))
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
    with pytest.raises(
        DataError, match=r"play\.avi breaks off or is damaged after [67] kept frames .*nothing was written"
    ):
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
        ("foo/bar", 32, "dataset: 'foo/bar' is not a name"),
        ("foo", 4, "--frame-size 4 is not allowed; at least 8 pixels"),
    ],
)
def test_a_bad_name_or_size_is_refused(tmp_path: Path, video: Path, name: str, frame_size: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        import_video(video, name, project_root=tmp_path, frame_size=frame_size)


def test_a_missing_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.mp4: there is no such video file"):
        import_video(tmp_path / "gone.mp4", "foo", project_root=tmp_path)
