"""No error of a write is lost while an HDF5 file is written.

pytest tests/unit/reference/data/test_hdf5_writes.py
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tinyworlds_gate
from tests.helpers.data_files import numbered_frames
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reference.data.frame_codes import KnownFrames, write_known
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.frames_writer import new_frames_file
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, write_generated

FRAMES = numbered_frames(48)


class Writes:
    """``os.pwrite`` of which one call fails, is short, or writes something else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None, fault: str) -> None:
        self.count, self._at, self._fault, self._write = 0, at, fault, os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, descriptor: int, data: Any, offset: int) -> int:
        self.count += 1
        if self.count - 1 != self._at:
            return self._write(descriptor, data, offset)
        if self._fault == "short":
            return self._write(descriptor, bytes(data)[: max(1, len(data) // 2)], offset)
        if self._fault == "other bytes":
            return self._write(descriptor, bytes(len(data)), offset)
        number = getattr(errno, self._fault)
        raise OSError(number, os.strerror(number))


def make_data(folder: Path) -> Path:
    path = folder / "game_frames.h5"
    with new_frames_file(path) as writer:
        writer.set_attrs({"source": "a test"})
        for _ in range(2):
            writer.append(FRAMES, episode=np.zeros(len(FRAMES), np.int32))
    return path


def write_frames(folder: Path) -> Path:
    path = folder / "generated.h5"
    write_generated(path, GeneratedFrames(np.arange(2 * 3 * 64 * 3, dtype=np.uint8).reshape(2, 3, 8, 8, 3)))
    return path


def write_codes(folder: Path) -> Path:
    path = folder / "codes.h5"
    codes = np.arange(200, dtype=np.int16).reshape(20, 10)
    write_known(path, [KnownFrames(codes, np.arange(20), np.zeros(20, int), "game.h5", 1, 20)], {})
    return path


WRITERS = [make_data, write_frames, write_codes]


@pytest.mark.fault("data-write-error", no_scene="one command, no run")
@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "short"])
@pytest.mark.parametrize("write", WRITERS, ids=lambda one: one.__name__)
def test_an_error_of_any_single_write_is_reported_and_no_file_appears(
    write: Any, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    with monkeypatch.context() as patch:
        total = Writes(patch, None, fault)
        whole = write(tmp_path / "whole").read_bytes()
    assert total.count >= 3
    for at in range(total.count):
        folder = tmp_path / str(at)
        folder.mkdir()
        with monkeypatch.context() as patch:
            Writes(patch, at, fault)
            if fault == "short":
                assert write(folder).read_bytes() == whole
                continue
            with pytest.raises((OSError, GateError), match=os.strerror(getattr(errno, fault))):
                write(folder)
        assert [one.name for one in folder.iterdir() if not one.name.endswith(".lock")] == []


@pytest.mark.fault("data-write-error", no_scene="one command, no run")
def test_frames_that_the_disk_changed_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        total = Writes(patch, None, "")
        make_data(tmp_path)
    expected = load_frames(tmp_path / "game_frames.h5").frames
    seen = 0
    for at in range(total.count):
        folder = tmp_path / str(at)
        folder.mkdir()
        with monkeypatch.context() as patch:
            Writes(patch, at, "other bytes")
            try:
                path = make_data(folder)
            except (OSError, GateError):
                seen += 1
                assert [one.name for one in folder.iterdir() if not one.name.endswith(".lock")] == []
                continue
        assert np.array_equal(load_frames(path).frames, expected)
    assert seen >= 3


def test_a_file_that_was_written_reads_back(tmp_path: Path) -> None:
    with h5py.File(make_data(tmp_path)) as file:
        assert np.array_equal(file["frames"][:], np.concatenate([FRAMES, FRAMES]))


def test_files_that_others_may_have_written_are_opened_in_one_place() -> None:
    package = Path(tinyworlds_gate.__file__).parent
    opened = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"h5py\.File\((?!\))", path.read_text(encoding="utf-8"))
    }
    reading = {"reference/data/hdf5_input.py", "reference/data/hdf5_examine.py", "reference/data/written_frames.py"}
    own = {name for name in opened if name.startswith(("power/", "bench/"))} | {"reference/data/hdf5_output.py"}
    assert opened - own == reading
