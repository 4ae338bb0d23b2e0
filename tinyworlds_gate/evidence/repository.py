"""The git repository of a project, opened at exactly the path that it lies at, and read as it was recorded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git


def open_repository(path: Path) -> git.Repo:
    """The repository that holds ``path``, also inside a git hook, whose environment names another one.

    GitPython expands ``$NAME`` in paths, and a folder may be called so: here it is taken as it is written.

    Raises:
        ImportError: the git program was not found.
        git.InvalidGitRepositoryError, git.NoSuchPathError: there is none.
    """
    import git

    class ExactGit(git.Git):
        """Runs git in the folder as it is called; only text is expanded, a path is not."""

        def __init__(self, working_dir: str | Path | None = None) -> None:
            super().__init__(None if working_dir is None else Path(working_dir))

    class ExactRepository(git.Repo):
        GitCommandWrapperType = ExactGit  # type: ignore[assignment]

    repo = ExactRepository(path, search_parent_directories=True, expand_vars=False)
    own = {
        "GIT_DIR": repo.git_dir,
        "GIT_WORK_TREE": repo.working_tree_dir or "",
        "GIT_INDEX_FILE": os.path.join(repo.git_dir, "index"),
        "GIT_OBJECT_DIRECTORY": os.path.join(repo.common_dir, "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_NAMESPACE": "",
    }
    # Set only where a hook set them: with GIT_DIR git does not ask who owns the repository.
    repo.git.update_environment(**{name: str(value) for name, value in own.items() if name in os.environ})
    return repo


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
