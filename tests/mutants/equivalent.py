"""The list of equivalent mutants: those that no test can kill, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.mutants.packages import CODE
from tests.mutants.sample import Mutant, mutants_of_lines

LIST = Path(__file__).with_name("equivalent.yaml")


@dataclass(frozen=True)
class Equivalent:
    """An entry of the list."""

    module: str
    before: str
    after: str
    because: str

    def matches(self, mutant: Mutant) -> bool:
        return (self.module, self.before, self.after) == (mutant.module, mutant.before, mutant.after)


def read_list(path: Path = LIST) -> list[Equivalent]:
    """Read the list; every entry has four texts."""
    return [Equivalent(**entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []]


def stale(entries: Sequence[Equivalent], root: Path) -> list[Equivalent]:
    """Return the entries that no mutant of their module has: the code has changed, or the entry is wrong."""
    found = []
    for entry in entries:
        path = root / CODE / entry.module
        source = path.read_text(encoding="utf-8") if path.exists() else ""
        if not any(entry.matches(mutant) for mutant in mutants_of_lines(entry.module, source, entry.before)):
            found.append(entry)
    return found
