"""The file of generated frames: layout, storage and refused files.

pytest tests/unit/reference/rollout/test_generated_frames.py
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import write_h5
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE, GeneratedFrames, read_generated, write_generated

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), np.uint8)
BITS = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
CODES = np.array([[[0, -1]], [[3, 2]]], np.int16)


def test_frames_are_read_as_they_were_written_and_each_clip_is_stored_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_generated(path, GeneratedFrames(FRAMES, random=FRAMES[:1], non_finite=BITS, codes=CODES))
    found = read_generated(path)
    assert np.array_equal(found.predicted, FRAMES)
    for table, expected in ((found.random, FRAMES[:1]), (found.non_finite, BITS), (found.codes, CODES)):
        assert table is not None
        assert np.array_equal(table, expected)
        assert table.dtype == expected.dtype
    assert (found.withheld, found.repeated) == (None, None)
    assert CODES[0, 0, 1] == NO_CODE, "files of earlier runs hold it"
    with h5py.File(path) as file:
        assert set(file) == {"predicted", "random", "non_finite", "codes"}
        for table in file.values():
            assert (table.chunks, table.compression) == ((1, *table.shape[1:]), "gzip")
            assert table.compression_opts == 1


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"predicted": FRAMES.astype(np.float32)}, "predicted must be uint8 with 5 axes; run inference again"),
        ({"predicted": FRAMES[0]}, "predicted must be uint8 with 5 axes"),
        ({"predicted": FRAMES, "random": FRAMES.astype(np.int16)}, "random must be uint8 with 5 axes"),
        ({"predicted": FRAMES, "codes": CODES.astype(np.int64)}, "codes must be int16 with 3 axes"),
        ({"predicted": FRAMES, "codes": CODES[0]}, "codes must be int16 with 3 axes"),
        ({"predicted": FRAMES, "non_finite": BITS[0]}, "non_finite must be uint8 with 3 axes"),
        ({"random": FRAMES}, "predicted.*run inference again"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path: Path, tables: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_generated(write_h5(tmp_path / "x.h5", **tables))


@pytest.mark.parametrize(("content", "said"), [(None, "wrote no generated frames"), (b"no HDF5", "x.h5")])
def test_a_file_that_is_missing_or_damaged_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{said}.*run inference again"):
        read_generated(path)
