"""Where a profile lies: by name under configs/profiles, or by path."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from tinyworlds_gate.config.yaml_io import did_you_mean
from tinyworlds_gate.errors import ConfigError

BASELINE = "baseline"
"""The profile of configs/ itself (P3)."""

HOME = Path(__file__).resolve().parents[2]
"""The harness's own checkout; its profiles serve projects that have none."""

SETTINGS_FILES = (
    "training.yaml",
    "video_tokenizer.yaml",
    "latent_actions.yaml",
    "dynamics.yaml",
    "inference.yaml",
    "profile.yaml",
)
"""A complete set: every profile has these six files."""


def locate_profile(name_or_path: str | Path, project_root: Path) -> Path:
    """The profile.yaml of a profile given by name, by folder or by file; a name is looked up in the project first.

    Raises:
        ConfigError: there is no such profile, or files of its set are missing.
    """
    candidates = _candidates(name_or_path, project_root)
    found = next((folder for folder in candidates if (folder / "profile.yaml").is_file()), None)
    if found is None:
        names = profile_names(project_root)
        raise ConfigError(
            f"There is no profile `{name_or_path}`.{did_you_mean(str(name_or_path), names)} Known here: "
            f"{', '.join(names)}; or give the path of a folder that holds {', '.join(SETTINGS_FILES)}."
        )
    missing = [name for name in SETTINGS_FILES if not (found / name).is_file()]
    if missing:
        raise ConfigError(
            f"The profile folder {shown_path(found, project_root)} lacks {', '.join(missing)}; a profile is a complete "
            "set. Copy the missing files from configs/ and adapt them."
        )
    return found / "profile.yaml"


def file_digests(folder: Path) -> dict[str, str]:
    """Name of each of the six files that is there → SHA-256 of its content."""
    return {name: sha256(path.read_bytes()).hexdigest() for name in SETTINGS_FILES if (path := folder / name).is_file()}


def profile_names(project_root: Path) -> list[str]:
    """The profiles that can be given by name."""
    names = {BASELINE}
    for home in (project_root, HOME):
        names.update(path.parent.name for path in home.glob("configs/profiles/*/profile.yaml"))
    return sorted(names)


def shown_path(path: Path, project_root: Path) -> str:
    """The path as people are told it: relative to the project root where it lies inside."""
    resolved = path.resolve()
    return str(resolved.relative_to(project_root)) if resolved.is_relative_to(project_root) else str(path)


def _candidates(name_or_path: str | Path, project_root: Path) -> list[Path]:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        path = project_root / name_or_path
        return [path.parent if path.suffix in (".yaml", ".yml") else path]
    below = Path("configs") if text == BASELINE else Path("configs/profiles") / text
    return [project_root / below, HOME / below]
