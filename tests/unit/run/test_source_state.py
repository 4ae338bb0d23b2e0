"""The commit and the package versions of a run's code. ``pytest tests/unit/run/test_source_state.py``"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from tinyworlds_gate.run import source_state as module
from tinyworlds_gate.run.source_state import RECORDED_PACKAGES, harness_sha256, source_state


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_folder_without_a_repository_or_without_a_commit_has_no_commit(tmp_path: Path) -> None:
    state = source_state(tmp_path)
    assert (state.commit, state.dirty) == (None, None)
    git(tmp_path, "init", "-q")
    state = source_state(tmp_path)
    assert (state.commit, state.dirty) == (None, None)
    assert source_state(tmp_path / "absent").commit is None


def test_a_tracked_file_that_differs_makes_the_state_dirty(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("a = 1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "results.txt").write_text("untracked")
    commit = git(tmp_path, "rev-parse", "HEAD")
    state = source_state(tmp_path)
    assert (state.commit, state.dirty) == (commit, False)
    (tmp_path / "a.py").write_text("a = 2\n")
    state = source_state(tmp_path)
    assert (state.commit, state.dirty) == (commit, True)


def test_the_harness_s_files_have_one_digest_whatever_else_lies_there(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "gate").mkdir(parents=True)
    (package / "gate" / "verdict.py").write_text("PASS = 1\n")
    (package / "page.md.j2").write_text("text")
    before = harness_sha256(package)
    (package / "gate" / "__pycache__").mkdir()
    (package / "gate" / "__pycache__" / "verdict.cpython-311.pyc").write_bytes(b"compiled")
    (package / ".hidden").write_text("x")
    assert harness_sha256(package) == before
    (package / "page.md.j2").write_text("texts")
    edited = harness_sha256(package)
    (package / "gate" / "verdict.py").rename(package / "verdict.py")
    moved = harness_sha256(package)
    (package / "extra.py").write_text("")
    assert len({before, edited, moved, harness_sha256(package)}) == 4
    assert source_state(tmp_path).harness_sha256 == harness_sha256(module.PACKAGE)


def test_each_recorded_package_has_its_version_or_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = source_state(tmp_path).versions
    assert list(versions) == ["python", *RECORDED_PACKAGES]
    assert (versions["python"], versions["pytest"]) == (platform.python_version(), pytest.__version__)
    monkeypatch.setattr(module, "RECORDED_PACKAGES", ("no-such-package-of-anybody",))
    assert source_state(tmp_path).versions["no-such-package-of-anybody"] == "not installed"
