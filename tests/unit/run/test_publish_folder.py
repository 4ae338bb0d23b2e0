"""A folder is replaced whole, also by a rerun after a kill. ``pytest tests/unit/run/test_publish_folder.py``

`tests/crash_points` kills at every step; here are the states that it cannot make.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.run import publish_folder
from tinyworlds_gate.run.publish_folder import exchange, published_folder, recover_folder


def publish(folder: Path, text: str) -> None:
    with published_folder(folder) as new:
        (new / "below").mkdir()
        (new / "below" / "file").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `renameat2`, and on a system without it."""
    if request.param == "two renames":
        monkeypatch.setattr(publish_folder, "exchange", lambda one, other: False)


@pytest.mark.usefixtures("way")
def test_a_folder_is_made_and_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("old", "new"):
        publish(tmp_path / "above" / "kept", text)
        assert (tmp_path / "above" / "kept" / "below" / "file").read_text() == text
        assert names(tmp_path / "above") == ["kept"]


@pytest.mark.usefixtures("way")
def test_an_error_leaves_the_earlier_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "kept", "old")

    def no_sync(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(publish_folder, "sync", no_sync)
    with pytest.raises(OSError, match="Input/output error"):
        publish(tmp_path / "kept", "new")
    assert (tmp_path / "kept" / "below" / "file").read_text() == "old"
    assert names(tmp_path) == ["kept"]


def test_a_kill_between_two_renames_is_undone(tmp_path: Path) -> None:
    publish(tmp_path / "kept", "old")
    (tmp_path / "kept").rename(tmp_path / ".kept.earlier")
    (tmp_path / ".kept.tmp-77-0123abcd").mkdir()
    (tmp_path / ".another.tmp-77-0123abcd").mkdir()
    recover_folder(tmp_path / "kept")
    assert (tmp_path / "kept" / "below" / "file").read_text() == "old"
    assert names(tmp_path) == [".another.tmp-77-0123abcd", "kept"]


def test_an_earlier_folder_that_was_replaced_is_removed(tmp_path: Path) -> None:
    publish(tmp_path / "kept", "new")
    publish(tmp_path / ".kept.earlier", "old")
    recover_folder(tmp_path / "kept")
    assert names(tmp_path) == ["kept"]
    assert (tmp_path / "kept" / "below" / "file").read_text() == "new"


def test_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    publish(tmp_path / "one", "1")
    publish(tmp_path / "two", "2")
    if not exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("this file system has no renameat2 with RENAME_EXCHANGE")
    assert (tmp_path / "one" / "below" / "file").read_text() == "2"
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "none")


def test_the_call_of_the_system_exchanges_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Library:
        @staticmethod
        def renameat2(*arguments: Any) -> int:
            calls.append(arguments)
            return 0

    monkeypatch.setattr(publish_folder.ctypes, "CDLL", lambda *arguments, **keywords: Library)
    assert exchange(Path("one"), Path("two"))
    assert calls == [(-100, b"one", -100, b"two", 2)]
    monkeypatch.setattr(publish_folder.ctypes, "CDLL", lambda *arguments, **keywords: object())
    assert not exchange(Path("one"), Path("two"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_a_system_that_cannot_exchange_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Library:
        @staticmethod
        def renameat2(*arguments: Any) -> int:
            return -1

    monkeypatch.setattr(publish_folder.ctypes, "CDLL", lambda *arguments, **keywords: Library)
    monkeypatch.setattr(publish_folder.ctypes, "get_errno", lambda: number)
    assert not exchange(tmp_path / "one", tmp_path / "two")
