"""The code and the libraries of a run: the project's commit, whether tracked files differ from it, versions."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tinyworlds_gate.evidence.repository import open_repository
from tinyworlds_gate.gate.binding import SourceState

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
    """As they lie on the disk now; what a child process that starts now would run on."""
    commit, dirty = _commit(project_root)
    return SourceState(commit, dirty, _versions())


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
    except ImportError:  # GitPython's word for: there is no git program
        return None, None
    try:
        repository = open_repository(project_root)
        return repository.head.commit.hexsha, repository.is_dirty(untracked_files=False)
    except (git.GitError, ValueError):
        return None, None
