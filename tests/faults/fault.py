"""One row of the fault matrix, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

NOTHING = "nothing"


@dataclass(frozen=True)
class Fault:
    """A fault and the required behaviour; each text is an item of docs/faults.md, at most a sentence or two."""

    id: str
    """Lower-case words joined by hyphens, as in ``@pytest.mark.fault("kill-rank-0")``."""
    title: str
    """What happens to the run."""
    injected: str
    """How the test causes it: the real process, file or device that breaks."""
    loop: str
    """How the loop reacts."""
    report: str
    """The sentences of the report (or of the terminal, when the run has no report)."""
    requirements: tuple[str, ...]
    """IDs of docs/requirements.md."""
    lost: str = NOTHING
    """What is lost: ``nothing``, or exactly what."""
    slow: bool = False
    """Whether every test of the fault is marked ``slow``, so that a bare ``pytest`` skips it."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"fault id {self.id!r}: use lower-case words joined by hyphens")
        empty = [one.name for one in fields(self) if isinstance(text := getattr(self, one.name), str) and not text]
        if empty or not self.requirements:
            raise ValueError(f"fault {self.id}: empty fields: {', '.join(empty) or 'requirements'}")


@dataclass(frozen=True)
class Section:
    """A group of faults, a heading of docs/faults.md."""

    title: str
    rows: tuple[Fault, ...]
