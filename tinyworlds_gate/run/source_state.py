"""Record the code of a run: the project's commit, whether tracked files differ, the harness's files, versions."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tinyworlds_gate.run.git import GitError, Repository
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
        with Repository(project_root) as repository:
            commit = repository.head()
            return commit, None if commit is None else repository.is_dirty()
    except GitError:
        return None, None


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
