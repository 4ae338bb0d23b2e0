"""Complete settings folders for tests that change single lines of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILES = {
    "baseline": REPOSITORY / "configs",
    "longrun": REPOSITORY / "configs/profiles/longrun",
    "smoke": REPOSITORY / "configs/profiles/smoke",
}


def copy_profile(name: str, destination: Path) -> Path:
    """Copy a profile's six files and return the folder."""
    destination.mkdir(parents=True, exist_ok=True)
    for path in PROFILES[name].glob("*.yaml"):
        shutil.copy(path, destination / path.name)
    return destination


def append(path: Path, text: str) -> None:
    """Add lines to a settings file."""
    path.write_text(path.read_text() + text + "\n")


def replace_line(path: Path, key: str, line: str) -> None:
    """Replace the top-level line that sets a key."""
    lines = path.read_text().splitlines()
    hits = [index for index, old in enumerate(lines) if old.startswith(f"{key}:")]
    assert len(hits) == 1, f"{key} is set {len(hits)} times in {path}"
    lines[hits[0]] = line
    path.write_text("\n".join(lines) + "\n")


def set_values(path: Path, **values: object) -> None:
    """Set top-level keys of a settings file, existing or new; comments are lost."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
