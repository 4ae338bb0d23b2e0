"""Find a profile by name (in the project's configs/, then in the package's) or by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from tinyworlds_gate.config.yaml_io import did_you_mean
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.run.installation import shipped_folder

BASELINE = "baseline"
"""The profile of configs/ itself (P3)."""

SETTINGS_FILES = (
    "training.yaml",
    "video_tokenizer.yaml",
    "latent_actions.yaml",
    "dynamics.yaml",
    "inference.yaml",
    "profile.yaml",
)
"""The six files that every profile folder must have."""


def locate_profile(name_or_path: str | Path, project_root: Path) -> Path:
    """Return the path of profile.yaml for a profile's name, folder or file; names are looked up in the project first.

    Raises:
        ConfigError: there is no such profile, or files of its set are missing.
    """
    candidates = _candidates(name_or_path, project_root)
    found = next((folder for folder in candidates if (folder / "profile.yaml").is_file()), None)
    if found is None:
        names = profile_names(project_root)
        raise ConfigError(
            f"There is no profile `{name_or_path}`.{did_you_mean(str(name_or_path), names)} Known here: "
            f"{', '.join(names)}; or give the path of a folder with {', '.join(SETTINGS_FILES)}."
        )
    missing = [name for name in SETTINGS_FILES if not (found / name).is_file()]
    if missing:
        raise ConfigError(
            f"The profile folder {display_path(found, project_root)} lacks {', '.join(missing)}; a profile needs all "
            f"{len(SETTINGS_FILES)} settings files. Copy the missing ones from configs/ and adapt them."
        )
    return found / "profile.yaml"


def file_digests(place: Path | Mapping[str, Path]) -> dict[str, str]:
    """Return name → SHA-256 for each of the settings files (name → path, or a folder of the six) that exists."""
    files = {name: place / name for name in SETTINGS_FILES} if isinstance(place, Path) else place
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}


def profile_names(project_root: Path) -> list[str]:
    """Return the sorted names of the project's and the package's profiles."""
    names = {BASELINE}
    for configs in (project_root / "configs", shipped_folder("configs")):
        names.update(path.parent.name for path in configs.glob("profiles/*/profile.yaml"))
    return sorted(names)


def display_path(path: Path, project_root: Path) -> str:
    """Return a path for messages: relative to the project root if it is inside, else absolute; without ``..``."""
    resolved = path.resolve()
    if resolved.is_relative_to(project_root):
        return str(resolved.relative_to(project_root))
    return os.path.abspath(path)


def _candidates(name_or_path: str | Path, project_root: Path) -> list[Path]:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        path = project_root / name_or_path
        return [path.parent if path.suffix in (".yaml", ".yml") else path]
    below = Path() if text == BASELINE else Path("profiles") / text
    return [configs / below for configs in (project_root / "configs", shipped_folder("configs"))]
