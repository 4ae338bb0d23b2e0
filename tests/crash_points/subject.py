"""A subject of the sweep: work that a rerun goes on with, and what must hold after a fault and after the rerun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["broken off", "done", "settled"]
Acknowledge = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """``make`` fills a new folder once; each case works on a copy of it.

    ``act`` is the command and its rerun alike; it acknowledges what it promises to keep. ``check`` returns what is
    wrong, from the folder, what was acknowledged, and how far the command came: ``broken off``, ``done`` (without an
    error, though one may have hit it) or ``settled`` (a run without any fault has ended).
    """

    name: str
    make: Callable[[Path], None]
    act: Callable[[Path, Acknowledge], None]
    check: Callable[[Path, Sequence[str], State], list[str]]
    label: Callable[[str], str] | None = None
    """The row of the table by a file's name, where that is not ``name``."""
    resumes: int = 12
    """Faults of the rerun after a kill at each change."""


def nothing(folder: Path) -> None:
    """Make no file."""


def contents(folder: Path) -> dict[str, bytes]:
    """Path → content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
