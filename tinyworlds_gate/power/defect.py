"""One defect: what is wrong, how it gets in, and the check that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["weights", "files", "data", "rollout", "child", "afterwards"]
"""Where a defect enters. Never through a field that the verdict reads."""


@dataclass(frozen=True)
class Defect:
    """A row of docs/gate-power.md.

    ``check`` names the condition that stands against it: with that one condition left out, the row must fail.
    ``said`` is a regular expression that the verdict's sentence must match. ``project`` changes files before the
    inference run (its argument is the project's folder), ``in_child`` names what is broken inside the inference process
    (`broken/`), ``afterwards`` changes files after a verdict that was a pass.
    """

    id: str
    what: str
    way: Way
    verdict: Literal["FAIL", "INVALID"]
    check: str
    said: str
    project: Callable[[Path], None] | None = None
    in_child: str | None = None
    afterwards: Callable[[Path], None] | None = None
    quick: bool = False
    """Whether it belongs to the rows that every change is tested with."""
