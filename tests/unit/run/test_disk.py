"""A full disk is known by what a child said, or by trying to write; other failures are none.

pytest tests/unit/run/test_disk.py
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from tinyworlds_gate.errors import DiskError
from tinyworlds_gate.run import disk
from tinyworlds_gate.run.disk import DISK_FULL_ERRNOS, full_disk, reporting_full_disk, write_error


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 28] No space left on device: 'Logs/x.csv'",
        "[rank0]: OSError: [Errno 122] Disk quota exceeded",
        "[dynamics] error: results/a/dynamics_step_5 was not written: File too large. Earlier checkpoints stay",
        "OSError: Can't write data (file write failed: errno = 28, error message = 'No space left on device')",
    ],
)
def test_what_a_child_says_of_a_full_disk_is_the_sentence(line: str) -> None:
    assert full_disk(f"update 4/12\n{line}\nmore\n", []) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RuntimeError: CUDA out of memory",
        "a note: there may be no space left on device one day",
        "the message `File too large` would be an error",
        "OSError: [Errno 5] Input/output error",
    ],
)
def test_other_words_and_a_folder_that_takes_data_are_no_full_disk(text: str, tmp_path: Path) -> None:
    assert full_disk(text, [tmp_path]) is None
    assert list(tmp_path.iterdir()) == [], "the try leaves nothing"


def test_a_path_that_is_not_a_folder_gives_the_error_of_the_system(tmp_path: Path) -> None:
    error = write_error(tmp_path / "gone")
    assert error is not None
    assert error.errno == errno.ENOENT
    assert full_disk("", [tmp_path / "gone"]) is None


def test_a_refused_write_becomes_one_sentence_with_its_file_and_the_way_on() -> None:
    told = r"^Logs/x\.csv was not written: No space left on device\..*--resume-run"
    with pytest.raises(DiskError, match=told), reporting_full_disk():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "Logs/x.csv")


def test_other_errors_of_the_system_stay_what_they_are() -> None:
    with pytest.raises(PermissionError), reporting_full_disk():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x")


@pytest.mark.parametrize("number", sorted(DISK_FULL_ERRNOS))
def test_a_folder_that_takes_no_more_data_is_named(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} == DISK_FULL_ERRNOS
    errors = {"a": None, "b": OSError(errno.EACCES, "no"), "c": OSError(number, os.strerror(number))}
    monkeypatch.setattr(disk, "write_error", lambda folder: errors[folder.name])
    folders = [tmp_path / name for name in "abc"]
    assert full_disk("", folders) == f"{folders[2]} takes no more data: {os.strerror(number)}"
    assert full_disk("", folders[:2]) is None
    with (
        pytest.raises(
            DiskError, match=f"^A file of the run was not written: {os.strerror(number)}. The disk is full: free"
        ),
        reporting_full_disk(),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(("limit", "error"), [(64 * 1024, None), (64 * 1024 - 1, errno.EFBIG)])
def test_64_kib_are_written_and_removed(limit: int, error: int | None, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        found = write_error(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert getattr(found, "errno", None) == error
    assert list(tmp_path.iterdir()) == []
