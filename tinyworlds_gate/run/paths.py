"""Names that no file has yet, so that nothing earlier is overwritten."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def unused_path(folder: Path, name: str, suffix: str = "") -> Path:
    """``folder/name.suffix``, or the first of ``name_2.suffix``, ``name_3.suffix``, … that does not exist."""
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(path for one in names if not (path := folder / f"{one}{suffix}").exists())


def set_aside(path: Path, label: str) -> Path:
    """Rename ``path`` to the first unused ``.<label>-<name>-<number>`` beside it and return the new path."""
    names = (path.with_name(f".{label}-{path.name}-{number}") for number in count(1))
    return path.rename(next(aside for aside in names if not aside.exists()))
