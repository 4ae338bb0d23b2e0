"""One row of the fault matrix, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

NOTHING = "nothing"


@dataclass(frozen=True)
class Fault:
    """A fault and what is promised about it; each text is a cell of docs/faults.md, at most a sentence or two."""

    id: str
    """Lower-case words joined by hyphens; tests name it: ``@pytest.mark.fault("kill-rank-0")``."""
    title: str
    """What happens to the run."""
    injected: str
    """How the test does it: the real process, file or device that is hit."""
    loop: str
    """What the loop does then."""
    report: str
    """The words of the report (or of the terminal, where the run has no report)."""
    requirements: tuple[str, ...]
    """IDs of docs/requirements.md."""
    running: str = NOTHING
    """What is left running; ``nothing``, or the row has failed."""
    lost: str = NOTHING
    """What is lost; ``nothing``, or exactly what."""
    slow: bool = False
    """Every test of the row carries ``slow``, so that a bare ``pytest`` leaves it out."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"fault id {self.id!r}: lower-case words joined by hyphens are needed")
        empty = [one.name for one in fields(self) if isinstance(text := getattr(self, one.name), str) and not text]
        if empty or not self.requirements:
            raise ValueError(f"fault {self.id}: it says nothing for {', '.join(empty) or 'requirements'}")


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: tuple[Fault, ...]
