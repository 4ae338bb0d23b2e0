"""How a checkpoint's file collects bytes, and what it does when the disk refuses.

pytest tests/unit/checkpoints/test_durable.py
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyworlds_gate.checkpoints import durable
from tinyworlds_gate.checkpoints.durable import BUFFER_BYTES, SyncedFile, require_room

HALF = b"x" * 2**19


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The number of bytes of each write to the file, and its fsyncs."""
    found: list[Any] = []
    write_all, fsync = durable.write_all, os.fsync

    def counted(file: Any, data: Any) -> None:
        found.append(len(data))
        write_all(file, data)

    def noted(descriptor: int) -> None:
        found.append(f"fsync of {os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    monkeypatch.setattr(durable, "write_all", counted)
    monkeypatch.setattr(os, "fsync", noted)
    return found


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        ([], [0]),
        ([b""], [0]),
        ([HALF, HALF], [2**20]),
        ([HALF, HALF, b"x"], [2**20, 1]),
        ([HALF * 2], [2**20]),
        ([b"y", HALF * 2], [1, 2**20]),
        ([HALF * 2 + b"x"], [0, 2**20 + 1, 0]),
        ([b"y", HALF * 2 + b"x", b"z"], [1, 2**20 + 1, 1]),
    ],
)
def test_bytes_are_written_in_their_order_a_mebibyte_at_a_time(
    parts: list[bytes], written: list[int], writes: list[Any], tmp_path: Path
) -> None:
    with SyncedFile(tmp_path / "a") as file:
        assert [file.write(part) for part in parts] == [len(part) for part in parts]
        file.flush()
    whole = b"".join(parts)
    assert writes == [*written, f"fsync of {len(whole)} bytes"]
    assert (tmp_path / "a").read_bytes() == whole
    assert (file.size, file.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert BUFFER_BYTES == 2**20
    with pytest.raises(FileExistsError):
        SyncedFile(tmp_path / "a")


def test_a_view_of_wider_items_is_written_by_its_bytes(tmp_path: Path) -> None:
    with SyncedFile(tmp_path / "a") as file:
        assert file.write(memoryview(bytes(16)).cast("q")) == 16
    assert file.size == 16


def test_the_first_refusal_is_raised_at_the_end_and_nothing_is_taken_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = chain([errno.ENOSPC], repeat(errno.EIO))

    def refuse(file: Any, data: Any) -> None:
        raise OSError(next(numbers), "refused")

    monkeypatch.setattr(durable, "write_all", refuse)
    file = SyncedFile(tmp_path / "a")
    assert file.write(HALF * 2 + b"x") == 2**20 + 1
    assert file.write(b"more") == 4
    assert file.size == 2**20 + 1
    with pytest.raises(OSError, match="refused") as caught, file:
        pass
    assert caught.value.errno == errno.ENOSPC


def test_an_error_of_the_block_is_not_replaced_and_nothing_more_is_written(writes: list[Any], tmp_path: Path) -> None:
    file = SyncedFile(tmp_path / "a")
    file.write(b"x")
    with pytest.raises(KeyError), file:
        raise KeyError
    assert writes == []
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize(
    ("blocks", "needed", "refused"), [(9, 1024, False), (9, 1025, True), (0, 1025, False), (9, 0, False)]
)
def test_a_disk_with_less_room_than_needed_is_named(
    blocks: int, needed: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def disk(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(f_bavail=2, f_frsize=512, f_blocks=blocks)

    monkeypatch.setattr(os, "statvfs", disk)
    folder = tmp_path / "not" / "yet"
    if refused:
        said = f"No space left on device: a checkpoint takes 1.0 KiB, and 1.0 KiB are free on the disk of {folder}"
        with pytest.raises(OSError, match=re.escape(said)) as caught:
            require_room(folder, needed)
        assert caught.value.errno == errno.ENOSPC
    else:
        require_room(folder, needed)
    assert asked == [tmp_path]
