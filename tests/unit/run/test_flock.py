"""Locks on file systems that have some and on those that have none. ``pytest tests/unit/run/test_flock.py``"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tinyworlds_gate.run import flock
from tinyworlds_gate.run.flock import is_still_at, try_flock


def test_a_lock_is_held_by_one_open_file(tmp_path: Path) -> None:
    one, other = (os.open(tmp_path, os.O_DIRECTORY) for _ in range(2))
    try:
        assert try_flock(one)
        with pytest.raises(BlockingIOError):
            try_flock(other)
        assert try_flock(one, fcntl.LOCK_UN)
        assert try_flock(other)
    finally:
        os.close(one)
        os.close(other)


@pytest.mark.parametrize("folder", [True, False], ids=["a folder", "a file"])
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.EIO])
def test_what_has_no_locks_is_recognised(
    number: int, folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path if folder else tmp_path / "file", os.O_RDONLY)
    monkeypatch.setattr(flock.fcntl, "flock", fail)
    try:
        if number == errno.EIO or (number == errno.EBADF and not folder):
            with pytest.raises(OSError, match=os.strerror(number)):
                try_flock(descriptor)
        else:
            assert not try_flock(descriptor)
    finally:
        os.close(descriptor)


def test_an_open_file_is_at_its_path_until_it_is_replaced_or_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert is_still_at(descriptor, path)
        (tmp_path / "link").symlink_to(path)
        assert not is_still_at(descriptor, tmp_path / "link"), "a link is another file"
        path.rename(tmp_path / "moved")
        assert not is_still_at(descriptor, path)
        path.touch()
        assert not is_still_at(descriptor, path)
        assert not is_still_at(descriptor, path / "below")
    finally:
        os.close(descriptor)
