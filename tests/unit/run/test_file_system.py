"""The file system of a path, and locks on those that have none. ``pytest tests/unit/run/test_file_system.py``"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tinyworlds_gate.run import file_system as module
from tinyworlds_gate.run.file_system import file_system, is_local
from tinyworlds_gate.run.flock import is_still_at, try_flock

MOUNTS = "\n".join(
    f"{number} 1 0:1 / {at} rw,relatime shared:1 - {kind} source rw"
    for number, (at, kind) in enumerate(
        [
            *(
                ("/", "ext4"),
                ("/data", "nfs4"),
                ("/data/fast", "xfs"),
                ("/data/fast", "tmpfs"),
                ("/with\\040blank", "lustre"),
            ),
            *(("/data", "fuse.sshfs"), ("/strange", "new")),
        ]
    )
)


@pytest.mark.parametrize(
    ("path", "kind", "local"),
    [
        ("/", "ext4", True),
        ("/home/a", "ext4", True),
        ("/data", "fuse.sshfs", False),
        ("/data/a/b", "fuse.sshfs", False),
        ("/data2", "ext4", True),
        ("/data/fast", "tmpfs", True),
        ("/data/fast/a", "tmpfs", True),
        ("/data/faster", "fuse.sshfs", False),
        ("/with blank/a", "lustre", False),
        ("/strange", "new", False),
    ],
)
def test_the_deepest_and_newest_mount_above_a_path_counts(
    path: str, kind: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(f"{MOUNTS}\n")
    monkeypatch.setattr(module, "_MOUNTS", tmp_path / "mountinfo")
    assert (file_system(Path(path)), is_local(Path(path))) == (kind, local)
    monkeypatch.setattr(module, "_MOUNTS", tmp_path / "absent")
    assert (file_system(Path(path)), is_local(Path(path))) == (None, False)


@pytest.mark.parametrize(
    ("number", "is_folder", "missing"),
    [
        *((one, False, True) for one in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)),
        *((errno.EBADF, True, True), (errno.EBADF, False, False), (errno.EIO, False, False), (errno.EIO, True, False)),
    ],
)
def test_a_file_system_without_locks_is_no_error_and_a_broken_disk_is(
    number: int, is_folder: bool, missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path if is_folder else tmp_path / "file", os.O_RDONLY)
    try:
        assert try_flock(descriptor)
        monkeypatch.setattr(fcntl, "flock", refuse)
        if missing:
            assert not try_flock(descriptor)
        else:
            with pytest.raises(OSError, match=os.strerror(number)):
                try_flock(descriptor)
    finally:
        os.close(descriptor)


def test_a_lock_keeps_others_out_and_lets_readers_share(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    first, second = (os.open(tmp_path / "file", os.O_RDONLY) for _ in range(2))
    try:
        assert try_flock(first)
        with pytest.raises(BlockingIOError):
            try_flock(second)
        shared = fcntl.LOCK_SH | fcntl.LOCK_NB
        assert try_flock(first, shared)
        assert try_flock(second, shared)
    finally:
        os.close(first)
        os.close(second)


def test_a_file_is_still_at_its_path_until_it_is_moved_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert is_still_at(descriptor, path)
        path.rename(tmp_path / "moved")
        assert not is_still_at(descriptor, path)
        path.symlink_to(tmp_path / "moved")
        assert not is_still_at(descriptor, path), "a link is another file"
        path.unlink()
        path.touch()
        assert not is_still_at(descriptor, path)
        path.unlink()
        path.parent.rmdir()
        path.parent.touch()
        assert not is_still_at(descriptor, path)
        assert is_still_at(descriptor, tmp_path / "moved")
    finally:
        os.close(descriptor)
