"""What the reader of repositories answers, beside that it executes nothing (`test_hostile_repositories.py`).

pytest tests/unit/run/test_git.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tinyworlds_gate.run import git as git_module
from tinyworlds_gate.run.git import GitError, NoGit, NoRepository, Repository, program, run_in_own_folder


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits of one file."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for text in ("one\n", "two\n"):
        (folder / "a.txt").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", text.strip())
    return folder


def test_head_is_the_newest_commit_and_none_before_the_first(repo: Path, tmp_path: Path) -> None:
    with Repository(repo) as repository:
        assert repository.head() == git(repo, "rev-parse", "HEAD")
        assert (repository.top, repository.git_dir, repository.common_dir) == (repo, repo / ".git", repo / ".git")
        assert repository.read("log", "--format=%s") == "two\none\n"
        assert (repository.shallow_commits(), repository.is_partial()) == (set(), False)
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q")
    with Repository(tmp_path / "new") as empty:
        assert empty.head() is None
        assert not empty.is_dirty()
        assert empty.read("rev-list", "--all") == ""


def test_a_folder_below_or_inside_git_is_of_the_same_repository(repo: Path) -> None:
    (repo / "below").mkdir()
    for folder in (repo / "below", repo / ".git", repo / ".git" / "refs"):
        with Repository(folder) as repository:
            assert repository.top == repo
            assert repository.read("ls-files") == "a.txt\n"


def test_a_folder_without_a_repository_is_named(tmp_path: Path, repo: Path) -> None:
    with pytest.raises(NoRepository, match=r"is not a folder$"):
        Repository(tmp_path / "absent")
    with pytest.raises(NoRepository, match="not a git repository"):
        Repository(tmp_path)
    (repo / ".git" / "config").write_text("[core\n")
    with pytest.raises(GitError, match="bad config") as caught:
        Repository(repo)
    assert not isinstance(caught.value, NoRepository)


def test_a_bare_or_shallow_or_partial_clone_is_known(repo: Path, tmp_path: Path) -> None:
    bare, shallow = tmp_path / "bare", tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(bare))
    with Repository(bare) as repository:
        assert (repository.top, repository.is_dirty()) == (None, False)
        assert repository.read("log", "--format=%s") == "two\none\n"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repo}", str(shallow))
    with Repository(shallow) as repository:
        assert repository.shallow_commits() == {git(repo, "rev-parse", "HEAD")}
        assert repository.read("log", "--format=%s") == "two\n"
    (repo / ".git" / "objects" / "pack" / "p.promisor").touch()
    with Repository(repo) as repository:
        assert repository.is_partial()


def test_the_output_of_a_command_comes_as_a_stream_and_its_failure_at_the_end(repo: Path) -> None:
    with Repository(repo) as repository:
        with repository.stream("log", "--format=%s") as output:
            assert output.read() == b"two\none\n"
        with pytest.raises(GitError, match="unknown revision"), repository.stream("log", "nothing") as output:
            assert output.read() == b""
        with pytest.raises(KeyError), repository.stream("log") as output:
            raise KeyError
        with pytest.raises(GitError, match="unknown revision"):
            repository.read("log", "nothing")


def test_settings_of_the_work_tree_are_kept_and_no_others(repo: Path) -> None:
    assert Repository(repo)._kept_settings() != []
    git(repo, "config", "core.autocrlf", "input")
    git(repo, "config", "core.eol", "l f")
    git(repo, "config", "core.editor", "evil")
    kept = Repository(repo)._kept_settings()
    assert "autocrlf = input" in kept
    assert not [line for line in kept if line.startswith(("eol", "editor"))]
    with Repository(repo) as repository:
        view = Path(repository._environment()["GIT_DIR"])
        assert (view / "config").read_text().splitlines()[:3] == [
            "[core]",
            "repositoryFormatVersion = 1",
            "bare = false",
        ]
        assert (view / "HEAD").read_text() == f"{repository.head()}\n"
        assert repository._environment()["GIT_DIR"] == str(view), "made once"
    assert not view.exists()


def test_a_submodule_that_is_a_link_or_not_checked_out_is_not_dirty(repo: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    git(tmp_path, "clone", "-q", str(repo), str(inner))
    git(repo, "submodule", "-q", "add", str(inner), "sub")
    git(repo, "commit", "-q", "-m", "three")

    def is_dirty(depth: int = 8) -> bool:
        with Repository(repo) as repository:
            return repository._is_dirty(depth)

    assert not is_dirty()
    (repo / "sub" / "a.txt").write_text("other\n")
    assert is_dirty()
    assert not is_dirty(0)
    assert is_dirty(1)
    (repo / "sub").rename(tmp_path / "away")
    (repo / "sub").mkdir()
    assert not is_dirty()


def test_an_own_repository_reads_content_and_reports_a_failure(tmp_path: Path) -> None:
    run_in_own_folder(tmp_path, "init", "-q")
    commit = b"commit refs/heads/main\ncommitter a <a@example.org> 1 +0000\ndata 3\none\n"
    run_in_own_folder(tmp_path, "fast-import", "--quiet", content=iter([commit[:20], commit[20:]]))
    assert git(tmp_path, "log", "--format=%s", "main") == "one"
    with pytest.raises(GitError, match="fatal"):
        run_in_own_folder(tmp_path, "fast-import", "--quiet", content=iter([b"nonsense\n"]))
    with pytest.raises(GitError, match=r"could not be started in .*absent: No such file"):
        run_in_own_folder(tmp_path / "absent", "init")


def test_git_is_found_in_absolute_folders_of_path_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = program()
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "bin", str(Path(found).parent)]))
    assert program() == found
    assert git_module._search_path() == str(Path(found).parent)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoGit, match=r"^The git program was not found\.$"):
        program()


def test_a_git_that_does_not_answer_is_ended(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(slow.parent), os.environ["PATH"]]))
    monkeypatch.setattr(git_module, "TIMEOUT_S", 0.2)
    with pytest.raises(GitError, match=r"^git did not answer within 0 s\.$"):
        Repository(repo)
