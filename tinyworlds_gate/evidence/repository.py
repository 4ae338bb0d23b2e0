"""The git repository of a project, opened at exactly the path that it lies at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git


def open_repository(path: Path) -> git.Repo:
    """The repository that holds ``path``.

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

    return ExactRepository(path, search_parent_directories=True, expand_vars=False)
