"""Temporary folders beside their final names. ``pytest tests/unit/run/test_unfinished.py``"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from pathlib import Path

import pytest

from tests.helpers.descriptors import none_left_open
from tinyworlds_gate.run import unfinished
from tinyworlds_gate.run.unfinished import TEMPORARY, UnfinishedFolder, remove, remove_if_dead


def test_a_folder_is_named_held_and_removed(tmp_path: Path) -> None:
    with none_left_open():
        with UnfinishedFolder(tmp_path / "final") as folder:
            assert re.fullmatch(rf"\.final\.{TEMPORARY}", folder.name)
            assert (folder.parent, folder.name.split("-")[1]) == (tmp_path, str(os.getpid()))
            (folder / "below").mkdir()
            assert not remove_if_dead(folder), "its writer lives"
            assert folder.is_dir()
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_renamed_stays(tmp_path: Path) -> None:
    with UnfinishedFolder(tmp_path / "final") as folder:
        folder.rename(tmp_path / "final")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_what_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / ".final.tmp-1-00000000"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").touch()
    with none_left_open():
        assert remove_if_dead(folder)
    assert not folder.exists()
    assert not remove_if_dead(folder), "it is gone"


def test_only_a_folder_is_opened_never_a_link_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(OSError) as error:
            unfinished._open(tmp_path / name)
        assert error.value.errno in (errno.ENOTDIR, errno.ELOOP)
        assert not remove_if_dead(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_folder_that_cannot_be_removed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    with monkeypatch.context() as context:
        context.setattr(unfinished.shutil, "rmtree", lambda *arguments, **keywords: None)
        assert not remove(tmp_path / "folder")
        assert not remove_if_dead(tmp_path / "folder")
    assert remove(tmp_path / "folder")


def test_a_folder_that_another_writer_removes_at_once_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = unfinished.is_still_at, list[Path]()

    def removed_twice(descriptor: int, path: Path) -> bool:
        seen.append(path)
        if len(seen) < 3:
            path.rmdir()
        return whole(descriptor, path)

    monkeypatch.setattr(unfinished, "is_still_at", removed_twice)
    with none_left_open(), UnfinishedFolder(tmp_path / "final") as folder:
        assert (folder, len(set(seen))) == (seen[-1], 3)
    monkeypatch.setattr(unfinished, "is_still_at", lambda descriptor, path: False)
    with none_left_open(), pytest.raises(OSError, match="beside final vanish while they are made") as error:
        UnfinishedFolder(tmp_path / "final").__enter__()
    assert error.value.errno == errno.EBUSY
    assert len(list(tmp_path.iterdir())) == unfinished._TRIES == 20


def test_a_folder_that_is_held_or_gone_is_none_and_a_broken_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unfinished._locked(tmp_path / "gone") is None
    (tmp_path / "folder").mkdir()
    holder = os.open(tmp_path / "folder", os.O_DIRECTORY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with none_left_open():
        assert unfinished._locked(tmp_path / "folder") is None
    os.close(holder)

    def broken(descriptor: int) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(unfinished, "try_flock", broken)
    assert not remove_if_dead(tmp_path / "folder")
    with none_left_open(), pytest.raises(OSError, match="Input/output error"):
        unfinished._locked(tmp_path / "folder")
    assert not (tmp_path / "folder").exists(), "it is not left behind"


def test_without_locks_a_folder_is_made_and_what_others_left_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "try_flock", lambda descriptor: False)
    (tmp_path / "left").mkdir()
    assert not remove_if_dead(tmp_path / "left")
    with UnfinishedFolder(tmp_path / "final") as folder:
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["left"]
