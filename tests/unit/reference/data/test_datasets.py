"""Finding or generating the frames file of a dataset name."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import pytest

from tests.helpers.data_files import numbered_frames, write_h5
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import (
    dataset_notes,
    dataset_path,
    dataset_stride,
    ensure_dataset,
    found_datasets,
    missing_dataset,
)
from tinyworlds_gate.reference.data.frames_file import load_frames


def _ensure(root: Path, dataset: str = "CRAFTER", num_frames: int = 40) -> Path:
    return ensure_dataset(root, dataset, 18, num_frames=num_frames, episode_length=20, seed=0)


def test_a_name_becomes_a_path_in_the_data_folder(tmp_path: Path) -> None:
    assert dataset_path(tmp_path, "CRAFTER", 72) == tmp_path / "data" / "crafter_72px_frames.h5"
    assert dataset_path(tmp_path, "ZELDA", 128) == tmp_path / "data" / "zelda_frames.h5"
    assert dataset_path(tmp_path, "my-Game_2", 128) == tmp_path / "data" / "my-game_2_frames.h5"


@pytest.mark.parametrize("name", ["", "../secrets", "a/b", "zelda.h5", " "])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"dataset: '{name}' is not a name; letters, digits, - and _ are allowed"):
        dataset_path(tmp_path, name, 72)


def test_crafter_is_generated_on_first_use_and_used_as_it_is_afterwards(tmp_path: Path) -> None:
    path = _ensure(tmp_path)
    before = path.stat()
    assert len(load_frames(path).frames) == 40
    assert _ensure(tmp_path, num_frames=80) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    notes = dataset_notes(path, num_frames=80, episode_length=20, seed=0)
    assert notes == [
        "crafter_18px_frames.h5 was made with num_frames 40, not 80; it is used as it is (move it away to replace it)"
    ]


def test_two_first_uses_at_once_generate_one_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(_ensure, [tmp_path, tmp_path])
    assert first == second
    assert len(load_frames(first).frames) == 40


def test_a_missing_zelda_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"zelda_frames.h5: there is no such file; .*`tinyworlds-gate data fetch zelda`"
    ):
        _ensure(tmp_path, "ZELDA")
    assert not (tmp_path / "data").exists()


def test_zelda_just_works_when_its_file_is_there_at_a_stride_of_four(tmp_path: Path) -> None:
    write_h5(tmp_path / "data" / "zelda_frames.h5", frames=numbered_frames(100, size=128))
    path = _ensure(tmp_path, "ZELDA")
    stride = dataset_stride(path, "ZELDA", fps=15)
    assert stride == 4
    assert load_frames(path, frame_size=128, stride=stride).frames.shape == (25, 128, 128, 3)


def test_crafter_is_read_frame_by_frame_and_an_imported_video_at_its_own_rate(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "data" / "pong_frames.h5", frames=numbered_frames(8))
    assert dataset_stride(tmp_path / "not_there.h5", "CRAFTER", fps=15) == 1
    with h5py.File(path, "a") as file:
        file.attrs["fps"] = 30.0
    assert [dataset_stride(path, "PONG", fps=fps) for fps in (60, 30, 15, 10)] == [1, 1, 2, 3]


def test_an_imported_video_is_read_at_its_rate_although_it_names_its_game(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "data" / "foo_frames.h5", frames=numbered_frames(8))
    with h5py.File(path, "a") as file:
        file.attrs["game"] = "foo"
    assert dataset_stride(path, "FOO", fps=15) == 1
    with h5py.File(path, "a") as file:
        file.attrs["fps"] = 30.0
    assert dataset_stride(path, "FOO", fps=15) == 2


@pytest.mark.parametrize(
    ("name", "file", "command"),
    [
        ("PONG", "pong_frames.h5", "data make pong --output .*pong_frames.h5`, or choose a dataset that is there.$"),
        ("ZELDA", "zelda_frames.h5", "data fetch zelda --project-root .*`, or choose a dataset that is there.$"),
        ("SONIC", "sonic_frames.h5", r"data import VIDEO.mp4 --name sonic .*crafter\|pong\|doom\|minigrid\|takecover`"),
        ("MINIGIRD", "minigird_frames.h5", "data import .*Did you mean `MINIGRID`\\?$"),
        ("STRIPE", "stripe_frames.h5", "data import .*Did you mean `STRIPES`\\?$"),
    ],
)
def test_a_missing_dataset_names_its_file_the_others_and_the_command(
    tmp_path: Path, name: str, file: str, command: str
) -> None:
    hidden = (".bars_frames.h5", "Capital_frames.h5", "stripes_held_out_frames.h5")
    for one in ("stripes_frames.h5", "crafter_72px_frames.h5", *hidden):
        write_h5(tmp_path / "data" / one, frames=numbered_frames(8))
    path = tmp_path / "data" / file
    sentence = missing_dataset(path, name)
    assert sentence is not None
    begin = (
        f"--dataset {name} needs the frames file {path}, which does not exist (found there: CRAFTER, STRIPES); fix: "
    )
    assert sentence.startswith(begin)
    assert re.search(command, sentence), sentence
    path.touch()
    assert missing_dataset(path, name) is None


def test_many_datasets_are_not_all_listed_and_none_is_said(tmp_path: Path) -> None:
    assert "(found there: no frames file)" in str(missing_dataset(tmp_path / "data" / "x_frames.h5", "X"))
    for number in range(12):
        write_h5(tmp_path / "data" / f"g{number:02}_frames.h5", frames=numbered_frames(8))
    assert found_datasets(tmp_path / "data") == [f"G{number:02}" for number in range(12)]
    assert "G07, …)" in str(missing_dataset(tmp_path / "data" / "x_frames.h5", "X"))


def test_a_broken_crafter_file_is_reported_and_left_alone(tmp_path: Path) -> None:
    path = dataset_path(tmp_path, "CRAFTER", 18)
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"is not an HDF5 file .*make crafter --frame-size 18`"):
        _ensure(tmp_path)
    assert path.read_bytes() == b"half a file"


def test_a_crafter_file_of_another_size_than_its_name_is_refused(tmp_path: Path) -> None:
    write_h5(dataset_path(tmp_path, "CRAFTER", 18), frames=numbered_frames(8, size=27))
    with pytest.raises(DataError, match="holds frames of 27 x 27 px, but its name says 18"):
        _ensure(tmp_path)
