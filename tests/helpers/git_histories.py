"""Repositories for the tests of the git audit: one commit at a time, or a whole history by `git fast-import`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import git

IN_2025 = "2025-06-01T12:00:00 +0000"


class History:
    """A repository in a temporary folder, with chosen committer dates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repo = git.Repo.init(path, initial_branch="main")
        with self.repo.config_writer() as config:
            config.set_value("user", "name", "A Tester")
            config.set_value("user", "email", "tester@example.invalid")
            config.set_value("commit", "gpgsign", "false")

    def write(self, name: str, content: str | bytes) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, subject: str, date: str = IN_2025, author_date: str | None = None, **files: str | bytes) -> str:
        """Commit `files` (keys are names with `__` for `/` and a trailing `_yaml` or `_py` for the suffix)."""
        for key, content in files.items():
            stem, _, suffix = key.rpartition("_")
            self.write(f"{stem.replace('__', '/')}.{suffix}", content)
        self.repo.git.add(all=True)
        with self.repo.git.custom_environment(GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=author_date or date):
            self.repo.git.commit("-m", subject, "--allow-empty")
        return self.repo.head.commit.hexsha

    def commit_object(self, *parents: str, seconds: int, subject: bytes = b"raw") -> str:
        """Write a commit object that git would not: any time, any bytes, the tree of HEAD; `main` then points to it."""
        tree = self.repo.head.commit.tree.hexsha
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        who = f"A <a@example.invalid> {seconds} +0000"
        content = "\n".join([*lines, f"author {who}", f"committer {who}", "", ""]).encode() + subject
        words = ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
        done = subprocess.run(words, cwd=self.path, input=content, capture_output=True, check=True)
        sha = done.stdout.decode().strip()
        self.repo.git.update_ref("refs/heads/main", sha)
        return sha
