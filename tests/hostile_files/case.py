"""A hostile input: how it is made, and which of our functions read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One input.

    ``make`` writes it below an empty folder and returns the path that the readers get. ``must_refuse``: a reader that
    accepts it is a failure; others may be harmless, such as a flipped bit of a weight.
    """

    kind: str
    name: str
    make: Callable[[Path], Path]
    must_refuse: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"
