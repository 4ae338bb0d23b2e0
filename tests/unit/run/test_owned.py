"""Files are opened and made only inside the folders that a run owns. Run: pytest tests/unit/run/test_owned.py"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.helpers.descriptors import none_left_open
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.atomic import atomic_path, atomic_write
from tinyworlds_gate.run.heartbeat import Heartbeat
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.lock import ProjectLock
from tinyworlds_gate.run.owned import (
    append_text_to,
    append_to,
    link_out_of,
    open_owned,
    owned_folder,
    read_owned,
    require_place_for_outputs,
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "private").write_text("private")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def is_untouched(outside: Path) -> bool:
    return [path.name for path in outside.rglob("*")] == ["private"] and (outside / "private").read_text() == "private"


def test_folders_are_made_below_the_root_only(root: Path, outside: Path) -> None:
    assert owned_folder(root, root / "a" / "b").is_dir()
    assert owned_folder(root, root / "a" / "b") == root / "a" / "b"
    for path in (outside, root / ".." / "outside" / "new", root.parent, Path("/")):
        with pytest.raises(OSError, match="outside the folder"):
            owned_folder(root, path)
    for link, below in (("link", "link"), ("deep/link", "deep/link/more")):
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(outside)
        with pytest.raises(OSError, match="a symbolic link is on the way"):
            owned_folder(root, root / below)
    (root / "inner").symlink_to(root / "a")
    with pytest.raises(OSError, match="a symbolic link is on the way"):
        owned_folder(root, root / "inner" / "c")
    assert is_untouched(outside)


def test_a_root_that_the_user_names_through_a_link_is_usable(tmp_path: Path, root: Path) -> None:
    (tmp_path / "named").symlink_to(root)
    owned_folder(tmp_path / "named", tmp_path / "named" / "results")
    assert (root / "results").is_dir()


def test_a_file_in_place_of_a_folder_is_reported_as_such(root: Path) -> None:
    (root / "results").write_text("")
    with pytest.raises(NotADirectoryError):
        owned_folder(root, root / "results" / "run")


@pytest.mark.parametrize(
    "name", ["link", "folder/link", "through/private", "../outside/private", "/outside", "absent/.."]
)
def test_reading_stays_inside_and_follows_no_link(root: Path, outside: Path, name: str) -> None:
    (root / "folder").mkdir()
    (root / "link").symlink_to(outside / "private")
    (root / "folder" / "link").symlink_to("../../outside/private")
    (root / "through").symlink_to(outside)
    with pytest.raises(OSError):
        read_owned(root, str(outside / "private") if name == "/outside" else name, 100)


def test_reading_is_bounded_and_waits_for_nobody(root: Path) -> None:
    (root / "file").write_bytes(b"12345")
    assert read_owned(root, "file", 3) == b"1234"
    assert read_owned(root, root / "file", 10) == b"12345"
    os.mkfifo(root / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="no regular file"):
            read_owned(root, name, 3)
    with pytest.raises(OSError) as raised:
        open_owned(root, "pipe", os.O_WRONLY)
    assert raised.value.errno in (errno.ENXIO, errno.EINVAL)


def test_nothing_is_appended_through_a_link(root: Path, outside: Path) -> None:
    (root / "log").symlink_to(outside / "private")
    (root / "new").symlink_to(outside / "made")
    for name in ("log", "new"):
        with pytest.raises(OSError, match="a symbolic link is on the way"):
            append_to(root / name)
    assert is_untouched(outside)


def test_a_waiting_temporary_link_is_not_written_through(root: Path, outside: Path) -> None:
    temporary = root / f".page.{os.getpid()}.part"
    temporary.symlink_to(outside / "private")
    atomic_write(root / "page", "new")
    assert (root / "page").read_text() == "new"
    temporary.symlink_to(outside / "private")
    with atomic_path(root / "page") as path:
        path.write_text("newer")
    (root / "target").symlink_to(outside / "private")
    atomic_write(root / "target", "a file")
    assert not (root / "target").is_symlink()
    assert is_untouched(outside)


@pytest.mark.parametrize("name", ["results", "results/run", "Logs", "inference_results", "docs", "docs/action"])
def test_a_run_is_not_made_through_a_planted_folder(root: Path, outside: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(outside)
    with pytest.raises(GateError, match=r"is a symbolic link to .*outside, and a run writes through no link"):
        RunLayout(root, "run").create()
    assert is_untouched(outside)


@pytest.mark.parametrize(
    "name",
    [
        *("results/run/logs", "results/run/logs/chunk_001_dynamics.log", "results/run/journal.jsonl"),
        *("results/run/nodes", "results/run/dynamics", "results/run/status.json", "results/run/journal.head"),
        "Logs/dynamics_history_run.csv",
    ],
)
def test_a_resumed_run_with_a_link_that_leads_out_is_refused(root: Path, outside: Path, name: str) -> None:
    RunLayout(root, "run").create()
    if (root / name).is_dir():
        (root / name).rmdir()
    (root / name).symlink_to(outside if "." not in name else outside / "private")
    with pytest.raises(GateError, match="is a symbolic link to"):
        RunLayout(root, "run").create()
    assert is_untouched(outside)


def test_links_that_stay_inside_a_run_and_links_to_checkpoints_are_fine(root: Path) -> None:
    layout = RunLayout(root, "run").create()
    (layout.logs / "chunk.log").write_text("")
    (layout.logs / "latest").symlink_to("chunk.log")
    layout.checkpoints("dynamics").mkdir(parents=True)
    layout.checkpoint("dynamics", 8).symlink_to(root.parent)
    assert RunLayout(root, "run").create() == layout
    assert link_out_of(layout.root) is None


def test_data_may_be_a_link_to_storage_elsewhere(root: Path, outside: Path) -> None:
    (root / "data").symlink_to(outside)
    RunLayout(root, "run").create()
    assert is_untouched(outside)


@pytest.mark.parametrize("name", ["results", "results/.tinyworlds_gate.lock"])
def test_the_lock_is_taken_through_no_link(root: Path, outside: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(outside if name == "results" else outside / "private")
    with pytest.raises(GateError, match="lock"):
        ProjectLock(root).acquire()
    assert is_untouched(outside)


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.head"])
def test_the_journal_is_written_through_no_link(root: Path, outside: Path, name: str) -> None:
    (root / name).symlink_to(outside / "private")
    with pytest.raises(GateError, match="a symbolic link is on the way"):
        Journal(root / "journal.jsonl")
    assert is_untouched(outside)


def test_heartbeats_are_written_through_no_link(root: Path, outside: Path) -> None:
    (root / f"rank_0_{os.getpid()}.jsonl").symlink_to(outside / "private")
    with pytest.raises(OSError, match="a symbolic link is on the way"):
        Heartbeat(root, 0)
    assert is_untouched(outside)


SYSTEM = "/ // /etc /etc/x /usr /usr/bin /usr/local /var /tmp /home /proc/self /dev /bin/x /lib /sys/x /boot /root"


@pytest.mark.parametrize("folder", [*SYSTEM.split(), "~"])
def test_outputs_do_not_go_to_the_system_or_the_home_folder(folder: str, tmp_path: Path) -> None:
    path = Path(folder).expanduser()
    (tmp_path / "link").symlink_to(path)
    for named in (path, tmp_path / "link"):
        with pytest.raises(GateError, match=r"--output-root .* is your home folder or a folder of the system"):
            require_place_for_outputs(named, "--output-root")


@pytest.mark.parametrize("folder", ["~/runs", "/data", "/mnt/disk", "/srv/runs", "/usr/src/app", "/dev/shm/a"])
def test_other_folders_can_hold_outputs(folder: str, tmp_path: Path) -> None:
    require_place_for_outputs(Path(folder).expanduser(), "--output-root")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    require_place_for_outputs(tmp_path / "link", "--output-root")


def test_no_folder_or_file_stays_open(root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside)
    (root / "file").write_text("x")
    os.mkfifo(root / "pipe")
    with none_left_open():
        owned_folder(root, root / "a" / "b" / "c")
        assert read_owned(root, "file", 9) == b"x"
        for name in ("link/private", "a/absent", "file/below", "pipe", "a"):
            with pytest.raises(OSError):
                read_owned(root, name, 9)
        with pytest.raises(OSError, match="a symbolic link is on the way"):
            owned_folder(root, root / "link" / "more")


def test_an_error_names_the_link_or_the_folder_that_was_to_be_made(root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside)
    for below, number, named in (
        (root / "link" / "a", errno.ELOOP, root / "link"),
        (root.parent / "x", errno.EXDEV, root.parent / "x"),
    ):
        with pytest.raises(OSError) as caught:
            owned_folder(root, below)
        assert (caught.value.errno, caught.value.filename) == (number, str(named))
    (root / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        owned_folder(root, root / "file" / "a" / "b")
    assert caught.value.filename == str(root / "file" / "a" / "b")
    with pytest.raises(OSError, match=r"^\[Errno 2\] No such file or directory: 'absent'$"):
        read_owned(root, "absent", 9)


def test_files_are_made_readable_for_all_and_writable_for_their_owner(root: Path) -> None:
    before = os.umask(0)
    try:
        append_to(root / "appended").close()
        os.close(open_owned(root, "opened", os.O_WRONLY | os.O_CREAT))
    finally:
        os.umask(before)
    assert [oct((root / name).stat().st_mode & 0o7777) for name in ("appended", "opened")] == ["0o644", "0o644"]


def test_text_is_appended_as_it_is(root: Path) -> None:
    for text in ("ü\r\n", "b\n"):
        with append_text_to(root / "log") as file:
            file.write(text)
    assert (root / "log").read_bytes() == "ü\r\nb\n".encode()


def test_the_home_folder_may_hold_outputs_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    require_place_for_outputs(tmp_path, "--output-root", home=True)
    with pytest.raises(GateError, match=r"--output-root .* is your home folder"):
        require_place_for_outputs(tmp_path, "--output-root")
    with pytest.raises(GateError, match="a folder of the system"):
        require_place_for_outputs(Path("/etc"), "--output-root", home=True)
