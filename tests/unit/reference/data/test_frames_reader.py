"""Multi-threaded decompression returns what HDF5 returns, and falls back to HDF5 where it cannot read."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data import frames_reader
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.frames_reader import (
    BLOCK_FRAMES,
    iter_blocks,
    read_all,
    read_each,
    read_rows,
    reader_threads,
)

GZIP = {"chunks": (16, 8, 8, 3), "compression": "gzip", "compression_opts": 1}


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def written(path: Path, frames: np.ndarray, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames, **options)
    return path


def read(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        blocks = np.concatenate([block.copy() for _, block in iter_blocks(file["frames"], threads=3)])
        assert np.array_equal(read_all(file["frames"], threads=2), blocks)
        return blocks


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record for each block whether the threads read it."""
    gave: list[bool] = []
    plain = frames_reader._unpack

    def watched(*arguments: Any) -> bool:
        gave.append(plain(*arguments))
        return gave[-1]

    monkeypatch.setattr(frames_reader, "_unpack", watched)
    return gave


@pytest.mark.parametrize("count", [16, 17, 511, BLOCK_FRAMES + 1, 2 * BLOCK_FRAMES + 37])
def test_frames_in_gzip_chunks_come_out_as_they_went_in(tmp_path: Path, count: int, unpacked: list[bool]) -> None:
    frames = pixels(count)
    assert np.array_equal(read(written(tmp_path / "f.h5", frames, **GZIP)), frames)
    assert unpacked
    assert all(unpacked)


def test_chunks_that_do_not_divide_a_block_are_cut_at_its_edges(tmp_path: Path, unpacked: list[bool]) -> None:
    frames = pixels(BLOCK_FRAMES + 100)
    path = written(tmp_path / "f.h5", frames, **GZIP | {"chunks": (24, 8, 8, 3)})
    assert np.array_equal(read(path), frames)
    assert unpacked == [True, True] * 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (16, 8, 8, 3)},
        GZIP | {"shuffle": True},
        GZIP | {"fletcher32": True},
        GZIP | {"chunks": (16, 4, 8, 3)},
        {"chunks": (16, 8, 8, 3), "compression": "lzf"},
    ],
)
def test_frames_stored_in_any_other_way_are_read_by_hdf5(
    tmp_path: Path, options: dict[str, Any], unpacked: list[bool]
) -> None:
    frames = pixels(BLOCK_FRAMES + 9)
    assert np.array_equal(read(written(tmp_path / "f.h5", frames, **options)), frames)
    assert not unpacked


def test_chunks_that_were_never_written_are_refused(tmp_path: Path) -> None:
    path, frames = tmp_path / "f.h5", pixels(40)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", shape=(BLOCK_FRAMES + 40, 8, 8, 3), dtype=np.uint8, fillvalue=7, **GZIP)
        file["frames"][BLOCK_FRAMES:] = frames
    with pytest.raises(OSError, match=r"the chunk of `/frames` at \[0, 0, 0, 0\] is not in the file"):
        read(path)
    with pytest.raises(DataError, match=r"`frames` has \d+ of its \d+ chunks: the others were never written"):
        load_frames(path)


@pytest.mark.parametrize("options", [GZIP, {"chunks": (16, 8, 8, 3)}, {}], ids=["gzip", "plain chunks", "one piece"])
def test_single_frames_and_rows_are_those_of_the_file(tmp_path: Path, options: dict[str, Any]) -> None:
    frames = pixels(100)
    with h5py.File(written(tmp_path / "f.h5", frames, **options)) as file:
        for index in ([0], [99], [3, 4, 15, 16, 17, 80], list(range(0, 100, 7))):
            assert np.array_equal(read_each(file["frames"], np.array(index)), frames[index])
        for low, high in ((0, None), (5, 40), (90, 200), (-3, None), (10, 10)):
            assert np.array_equal(read_rows(file["frames"], low, high), frames[low:high])


def test_each_chunk_of_single_frames_is_decompressed_once(tmp_path: Path, unpacked: list[bool]) -> None:
    with h5py.File(written(tmp_path / "f.h5", pixels(100), **GZIP)) as file:
        read_each(file["frames"], np.arange(0, 96, 2))
    assert unpacked == [True] * 6


def test_a_chunk_that_decompresses_to_more_than_its_size_is_refused(tmp_path: Path) -> None:
    with h5py.File(written(tmp_path / "f.h5", pixels(16), **GZIP), "r+") as file:
        file["frames"].id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(2**20)))
        with pytest.raises(OSError, match="to more than its size"):
            read_rows(file["frames"], 0, 1)


def test_a_damaged_chunk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "damaged_frames.h5", pixels(64), **GZIP)
    with h5py.File(path) as file:
        where = file["frames"].id.get_chunk_info(2)
    with path.open("r+b") as raw:
        raw.seek(where.byte_offset + 20)
        raw.write(b"\xff" * 40)
    with pytest.raises(DataError, match=r"damaged_frames\.h5 cannot be read"):
        load_frames(path)


def test_ranks_of_one_machine_share_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_reader, "usable_cpus", lambda: 24)
    for ranks, threads in (("1", 16), ("2", 12), ("100", 1), ("no number", 16), ("0", 16)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        assert reader_threads() == threads
