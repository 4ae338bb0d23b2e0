"""Where things lie in a scene."""

from __future__ import annotations

from pathlib import Path


def healthy(root: Path, stage: str) -> Path:
    """The folder of the checkpoint that the run chose; a defect may have changed what is in it."""
    (found,) = (root / "results" / "healthy" / stage / "checkpoints").glob(f"{stage}_step_*")
    return found
