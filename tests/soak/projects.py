"""The projects of a soak: the tiny loop of the harness's own tests, or the smoke loop of this repository."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.helpers.config_files import REPOSITORY
from tests.helpers.tiny_project import GENERATED, commit, make_project

SIZES = ("tiny", "smoke")


def make_soak_project(root: Path, size: str, *, deadline_s: int | None = None) -> Path:
    """Make a project in the new folder ``root``.

    Args:
        size: one of SIZES.
        deadline_s: of a chunk, for long chunks of the tiny loop.
    """
    if size == "tiny":
        make_project(root)
        if deadline_s is not None:
            profile = root / "configs/profiles/smoke/profile.yaml"
            text = re.sub(r"chunk_deadline_s: \d+", f"chunk_deadline_s: {deadline_s}", profile.read_text())
            profile.write_text(text)
        return root
    root.mkdir(parents=True)
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(REPOSITORY / name, root / name)
    for name in ("validation", "configs"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("\n".join(GENERATED) + "\n")
    commit(root)
    return root
