"""A path is a regular file before it is opened. ``pytest tests/unit/run/test_regular_file.py``"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.descriptors import none_left_open
from tinyworlds_gate.run import regular_file
from tinyworlds_gate.run.regular_file import MISSING, open_regular, regular_file_problem, sparse_problem

GIB = 2**30


@pytest.mark.parametrize(
    ("size", "blocks", "sparse"),
    [
        (GIB, 0, False),
        (GIB + 1, 0, True),
        (2 * GIB, 2 * GIB // 16 // 512, False),
        (2 * GIB, 2 * GIB // 16 // 512 - 1, True),
        (100, 0, False),
        (2 * GIB, 2 * GIB // 512, False),
    ],
)
def test_a_large_file_of_which_nearly_nothing_is_on_the_disk_is_reported(size: int, blocks: int, sparse: bool) -> None:
    found = SimpleNamespace(st_size=size, st_blocks=blocks)
    assert (sparse_problem(found) is not None) is sparse  # type: ignore[arg-type]


def test_a_sparse_file_says_how_much_of_it_was_written(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2 * GIB)
    problem = "has 2.0 GiB, of which 0 B were ever written; copy the whole file again"
    assert regular_file_problem(tmp_path / "a") == problem
    with pytest.raises(OSError, match="copy the whole file again"):
        open_regular(tmp_path / "a")


def test_what_is_no_regular_file_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        problems = {name: regular_file_problem(tmp_path / name) for name in ("file", "gone", "fifo", "socket", "\0")}
    odd = "is a FIFO, socket or device"
    assert problems == {
        "file": None,
        "gone": MISSING,
        "fifo": odd,
        "socket": odd,
        "\0": "is no name of a file (embedded null byte)",
    }
    assert regular_file_problem(tmp_path) == "is a folder"
    assert regular_file_problem(Path("/dev/null")) == odd
    assert regular_file_problem(tmp_path / "file" / "below") == "cannot be opened (Not a directory)"


def test_a_file_is_opened_for_reading_and_its_descriptor_is_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    descriptor = open_regular(tmp_path / "file")
    try:
        assert os.read(descriptor, 10) == b"text"
        assert not os.get_inheritable(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_a_file_that_a_fifo_replaced_after_the_check_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(regular_file, "regular_file_problem", lambda path: None)
    with none_left_open(), pytest.raises(OSError, match="was replaced by something else than a file"):
        open_regular(tmp_path / "fifo")
