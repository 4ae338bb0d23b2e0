"""Frames files: what is read from a valid file, and the error for each kind of invalid file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import frame_numbers, numbered_frames, write_h5
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.data.frames_file import check_frames_file, load_frames, stride_from_fps
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, write_lock


def test_every_dataset_of_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "data" / "game_frames.h5"
    frames, episode = numbered_frames(40), np.arange(40) // 10
    actions, position = np.arange(40, dtype=np.uint8) % 6, np.arange(80, dtype=np.int16).reshape(40, 2)
    with write_lock(path), new_frames_file(path) as writer:
        writer.set_attrs({"game": "x", "seed": 3})
        for part in (np.s_[:15], np.s_[15:]):
            writer.append(frames[part], actions=actions[part], episode=episode[part], player_position=position[part])
    data = load_frames(path)
    np.testing.assert_array_equal(data.frames, frames)
    np.testing.assert_array_equal(data.episode, episode)
    np.testing.assert_array_equal(data.actions, actions)
    np.testing.assert_array_equal(data.player_position, position)
    assert data.has_true_episodes
    assert data.attrs == {"game": "x", "seed": 3}


def test_a_stride_starts_anew_in_each_episode_and_drops_the_actions(tmp_path: Path) -> None:
    path = write_h5(
        tmp_path / "g.h5",
        frames=numbered_frames(20),
        episode=np.repeat([0, 1], [6, 14]),
        actions=np.zeros(20, np.uint8),
    )
    data = load_frames(path, stride=4)
    assert frame_numbers(data.frames).tolist() == [0, 4, 6, 10, 14, 18]
    assert data.episode.tolist() == [0, 0, 1, 1, 1, 1]
    assert data.actions is None
    assert data.stride == 4


def test_a_long_file_without_episodes_is_strided_and_cut_into_blocks_of_256(tmp_path: Path) -> None:
    data = load_frames(write_h5(tmp_path / "zelda_frames.h5", frames=numbered_frames(8300)), stride=4)
    assert frame_numbers(data.frames).tolist() == list(range(0, 8300, 4))
    assert np.bincount(data.episode).tolist() == [256] * 8 + [27]
    assert not data.has_true_episodes


def test_a_short_file_without_episodes_still_gets_eight_blocks(tmp_path: Path) -> None:
    data = load_frames(write_h5(tmp_path / "g.h5", frames=numbered_frames(80)))
    assert np.bincount(data.episode).tolist() == [10] * 8


def test_another_frame_size_is_resized_without_aliasing(tmp_path: Path) -> None:
    stripes = np.zeros((3, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 200
    data = load_frames(write_h5(tmp_path / "g.h5", frames=stripes), frame_size=16)
    assert data.frames.shape == (3, 16, 16, 3)
    np.testing.assert_allclose(data.frames[:, :, 2:-2].astype(int), 100, atol=2)


def test_the_files_own_size_is_left_as_it_is(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(load_frames(write_h5(tmp_path / "g.h5", frames=frames), frame_size=16).frames, frames)


def test_fifteen_frames_a_second_is_a_stride_of_four() -> None:
    assert [stride_from_fps(fps) for fps in (60, 30, 15, 7)] == [1, 2, 4, 8]
    with pytest.raises(DataError, match="fps: 0 is not allowed; it must lie between 1 and 60"):
        stride_from_fps(0)


def test_a_stride_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stride 0 is not allowed: an integer of at least 1"):
        load_frames(tmp_path / "g.h5", stride=0)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    for name, command in [
        ("crafter_72px_frames.h5", "run `tinyworlds-gate data make crafter --frame-size 72`"),
        ("zelda_frames.h5", "run `tinyworlds-gate data fetch zelda`"),
        ("pong_frames.h5", "run `tinyworlds-gate data make pong`"),
        ("sonic_frames.h5", "run `tinyworlds-gate data import VIDEO.mp4 --name sonic`"),
    ]:
        with pytest.raises(DataError, match=f"{name}: there is no such file; .*fix: {command}"):
            load_frames(tmp_path / name)


def test_a_folder_under_the_files_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zelda_frames.h5").mkdir()
    with pytest.raises(DataError, match="it is a folder; a frames file"):
        load_frames(tmp_path / "zelda_frames.h5")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "zelda_frames.h5"
    path.touch()
    with pytest.raises(
        DataError, match=r"is empty \(0 bytes\).*move the file away and run `tinyworlds-gate data fetch"
    ):
        load_frames(path)


def test_the_error_for_a_truncated_file_has_both_sizes(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "crafter_8px_frames.h5", frames=numbered_frames(50))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=f"is truncated: {len(whole) // 2} of {len(whole)} bytes are there; .*make crafter"
    ):
        load_frames(path)
    assert path.stat().st_size == len(whole) // 2


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pong_frames.h5"
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"is not an HDF5 file \(22 bytes\)"):
        load_frames(path)


def test_damage_inside_the_pixels_is_found_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "pong_frames.h5"
    with h5py.File(path, "w") as file:
        noise = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), np.uint8)
        dataset = file.create_dataset("frames", data=noise, chunks=(8, 16, 16, 3), compression="gzip")
        offset = dataset.id.get_chunk_info(2).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 2000] = bytes(2000)
    path.write_bytes(damaged)
    assert check_frames_file(path).num_frames == 32
    with pytest.raises(DataError, match=r"pong_frames.h5 cannot be read \(.*; a whole frames file"):
        load_frames(path)


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({}, "holds nothing and no dataset `frames`"),
        ({"images": np.zeros(3)}, r"holds \['images'\] and no dataset `frames`"),
        ({"frames": np.zeros((4, 8, 8, 3), np.float32)}, "`frames` has type float32; uint8"),
        ({"frames": np.zeros((4, 3, 8, 8), np.uint8)}, r"`frames` has shape \[4, 3, 8, 8\]; \[N, H, W, 3\] is needed"),
        ({"frames": np.zeros((8, 8, 3), np.uint8)}, r"`frames` has shape \[8, 8, 3\]"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "`frames` holds 0 frames; at least one"),
        (
            {"frames": np.zeros((4, 8, 8, 3), np.uint8), "episode": np.zeros(3, int)},
            r"`episode` has shape \[3\]; \[4\] is needed, one entry for each of the 4 frames",
        ),
        (
            {"frames": np.zeros((4, 8, 8, 3), np.uint8), "player_position": np.zeros((4, 3))},
            r"`player_position` has shape \[4, 3\]; \[4, 2\]",
        ),
    ],
)
def test_the_error_for_a_wrong_shape_has_the_actual_and_the_required_one(
    tmp_path: Path, datasets: dict[str, np.ndarray], message: str
) -> None:
    path = write_h5(tmp_path / "zelda_frames.h5", **datasets)
    before = path.read_bytes()
    with pytest.raises(
        DataError, match=f"{message}.*fix: move the file away and run `tinyworlds-gate data fetch zelda`"
    ):
        load_frames(path)
    assert path.read_bytes() == before


def test_frames_that_are_not_square_are_not_cropped_silently(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "pong_frames.h5", frames=np.zeros((4, 8, 12, 3), np.uint8))
    with pytest.raises(DataError, match=r"frames are 8 x 12 pixels; square frames are needed .*--frame-size 8"):
        load_frames(path, frame_size=8)
    assert load_frames(path).frames.shape == (4, 8, 12, 3)


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "data" / "pong_frames.h5"

    def interrupted() -> None:
        with write_lock(path), new_frames_file(path) as writer:
            writer.append(numbered_frames(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in path.parent.iterdir()] == [f".{path.name}.lock"]


def test_a_source_without_frames_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pong_frames.h5"
    with pytest.raises(DataError, match="was not written: the source has no frame"), new_frames_file(path):
        pass
    assert not path.exists()


def test_pixels_are_mapped_to_minus_one_and_one_with_the_colours_before_the_rows() -> None:
    import torch

    frames = torch.zeros(1, 2, 4, 5, 3, dtype=torch.uint8)
    frames[0, 1, 2, 3] = torch.tensor([255, 51, 0])
    mapped = to_model_range(frames)
    assert mapped.shape == (1, 2, 3, 4, 5)
    assert mapped.dtype == torch.float32
    torch.testing.assert_close(mapped[0, 1, :, 2, 3], torch.tensor([1.0, 51 / 127.5 - 1, -1.0]))
    assert mapped[0, 0].unique().tolist() == [-1.0]


def test_pixels_of_another_type_are_refused() -> None:
    import torch

    with pytest.raises(ValueError, match=r"uint8 \[B, T, H, W, C\] is needed, got torch.float32 \[2, 3\]"):
        to_model_range(torch.zeros(2, 3))
