"""The project's repository is opened where it lies, and a git that refuses says why.

pytest tests/unit/evidence/git_audit/test_repository.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.tiny_project import commit
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.run.git import Repository


def repository(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    commit(folder)
    return folder


@pytest.mark.requirement("L4")
@pytest.mark.parametrize("name", ["$HOME", 'it\'s 100% "ours" #1', "~", "[a]*?", "${PATH}", "Zürich"])
def test_a_repository_is_found_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    root = repository(tmp_path / name)
    with Repository(root) as opened:
        assert opened.top == root.resolve()
        assert len(opened.head() or "") == 40
        assert not opened.is_dirty()
    assert audit(root, 2025, "strict").verdict == "PASS"


@pytest.mark.requirement("L4")
def test_a_repository_of_another_user_is_invalid_with_the_words_of_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose project folder belongs to the host's user; it has a commit, and git shows none."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    root = repository(tmp_path / "project")
    subprocess.run(["chown", "-R", "12345:12345", root], check=True)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    found = audit(root, 2025, "strict")
    assert found.verdict == "INVALID"
    assert "dubious ownership" in found.reason
    assert "no commit" not in found.reason


@pytest.mark.requirement("L4")
def test_a_repository_without_a_commit_is_reported(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert "has no commit yet" in audit(tmp_path, 2025, "strict").reason
