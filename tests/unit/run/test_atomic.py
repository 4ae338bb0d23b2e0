"""Files appear in full or not at all, and no earlier file is overwritten. ``pytest tests/unit/run/test_atomic.py``"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any, cast

import pytest

from tinyworlds_gate.run.atomic import atomic_path, atomic_write, publish, write_all, write_synced
from tinyworlds_gate.run.paths import set_aside, unused_path


def test_text_and_bytes_replace_a_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    for content in ("Zürich →\n", b"\x00\xff"):
        atomic_write(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]


def test_a_block_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]
    assert path.read_text() == "old"


def test_file_then_rename_then_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def noted_replace(old: Path, new: Path) -> None:
        steps.append(f"rename to {new.name}")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    (tmp_path / "part").write_text("x")
    publish(tmp_path / "part", tmp_path / "final")
    assert steps == ["fsync part", "rename to final", f"fsync {tmp_path.name}"]
    steps.clear()
    atomic_write(tmp_path / "status", "x", durable=False)
    assert steps == ["rename to status"]
    steps.clear()
    with atomic_path(tmp_path / "status", durable=False) as temporary:
        temporary.write_text("x")
    assert steps == ["rename to status"]
    for write in (write_by_default, lambda path: atomic_write(path, "x")):
        steps.clear()
        write(tmp_path / "report")
        part = f".report.{os.getpid()}.part"
        assert steps == [f"fsync {part}", "rename to report", f"fsync {tmp_path.name}"]
    steps.clear()
    write_synced(tmp_path / "new", b"x")
    assert steps == ["fsync new"]


def write_by_default(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("x")


def test_a_synced_file_is_new(tmp_path: Path) -> None:
    write_synced(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        write_synced(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"


class TakesLittle(FileIO):
    """Takes nothing at its first write, as a full pipe does, and at most three bytes at every other one."""

    refused = False

    def write(self, data: Any) -> int:
        if not self.refused:
            self.refused = True
            return cast(int, None)
        return super().write(data[:3])


@pytest.mark.parametrize("size", [0, 1, 3, 8])
def test_all_bytes_are_written_though_the_file_takes_few_at_a_time(size: int, tmp_path: Path) -> None:
    data = bytes(range(size))
    with TakesLittle(tmp_path / "a", "w") as file:
        write_all(file, data)
    assert (tmp_path / "a").read_bytes() == data


def test_the_first_unused_name_is_taken(tmp_path: Path) -> None:
    for name in ("run.5", "run.5_2", "run.5_3"):
        assert unused_path(tmp_path, "run.5").name == name
        (tmp_path / name).mkdir()
    assert unused_path(tmp_path, "a", ".log").name == "a.log"
    (tmp_path / "a.log").touch()
    assert unused_path(tmp_path, "a", ".log").name == "a_2.log"


def test_what_is_set_aside_is_hidden_and_numbered(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "a").mkdir()
        assert set_aside(tmp_path / "a", "rejected") == tmp_path / f".rejected-a-{number}"
