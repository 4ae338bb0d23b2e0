"""The git repository of a project, opened at exactly the path that it lies at, and read as it was recorded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git


def as_recorded(repo: git.Repo) -> None:
    """Let git show the commits as they were made, whatever this machine's environment and the clone say.

    Switched off: replaced and grafted commits, the width of diffs, attributes of the system, and any fetching.
    """
    repo.git.update_environment(
        GIT_NO_REPLACE_OBJECTS="1",
        GIT_GRAFT_FILE=os.devnull,
        GIT_DIFF_OPTS="",
        GIT_ATTR_NOSYSTEM="1",
        GIT_LITERAL_PATHSPECS="1",
        GIT_NO_LAZY_FETCH="1",
        GIT_TERMINAL_PROMPT="0",
    )


def folder_in_repository(repo: git.Repo, project: Path) -> tuple[str, list[str]]:
    """Where the project lies in its repository, `game/` or empty, and a sentence when that is not its root."""
    if repo.working_tree_dir is None:
        return "", ["The repository is bare."]
    inside, root = project.resolve(), Path(repo.working_tree_dir).resolve()
    if inside == root or not inside.is_relative_to(root) or inside.is_relative_to(Path(repo.git_dir).resolve()):
        return "", []
    folder = inside.relative_to(root).as_posix() + "/"
    return folder, [f"The project is the folder {folder} of a larger repository; relevant paths are taken inside it."]
