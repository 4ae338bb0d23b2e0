"""Record the code of a run: the project's commit, whether tracked files differ, the harness's files, versions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git


import platform
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

from tinyworlds_gate.run.installation import PACKAGE

RECORDED_PACKAGES = (
    "tinyworlds_gate",
    "torch",
    "numpy",
    "h5py",
    "crafter",
    "pytest",
    "pytest-html",
    "wandb",
    "safetensors",
    "torchmetrics",
    "pillow",
)


def source_state(project_root: Path) -> SourceState:
    """Return the current state; a child process that starts now would use it."""
    commit, dirty = _commit(project_root)
    return SourceState(commit, dirty, _versions(), harness_sha256(PACKAGE))


def harness_sha256(package: Path) -> str:
    """Return one SHA-256 over the names and contents of a package's files, without compiled and hidden ones.

    A wheel and a tree with changes have no commit that names their code.
    """
    digest = sha256()
    for path in sorted(path for path in package.rglob("*") if path.is_file()):
        name = path.relative_to(package)
        if path.suffix == ".pyc" or any(part.startswith(".") for part in name.parts):
            continue
        digest.update(f"{name.as_posix()}\0{sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _commit(project_root: Path) -> tuple[str | None, bool | None]:
    """The commit of the validated project and whether tracked files differ from it; None where git cannot say."""
    try:
        import git
    except ImportError:  # raised by GitPython when there is no git program
        return None, None
    try:
        repository = open_repository(project_root)
        return repository.head.commit.hexsha, repository.is_dirty(untracked_files=False)
    except (git.GitError, ValueError):
        return None, None


def open_repository(path: Path) -> git.Repo:
    """Open the repository that contains ``path``, also inside a git hook, whose environment names another one.

    A ``$NAME`` in the path is taken literally; GitPython would expand it.

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


@dataclass(frozen=True)
class SourceState:
    """Commit and package versions of the code on the disk."""

    commit: str | None = None
    """Of the validated project; None where git cannot say."""
    dirty: bool | None = None
    """Whether tracked files differ from the commit."""
    versions: Mapping[str, str] = field(default_factory=dict)
    harness_sha256: str | None = None
    """Of the files of this package."""
