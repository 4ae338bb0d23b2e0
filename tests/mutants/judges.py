"""Which test files judge a module: those of its own name first, then those that import it, then those near it."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.import_graph import imported, module_name
from tests.mutants.packages import CODE

FARTHEST = 3
"""Steps of imports between a test file and a module that it judges."""

LEAST_S = 5.0
"""No further test file is added to a budget with less than this left."""


@dataclass(frozen=True)
class Judge:
    """A test file that may kill a mutant of a module."""

    other_name: bool
    distance: int
    """Steps of imports from the test to the module."""
    other_package: bool
    path: str
    """Below the root of the tree."""

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """The smaller, the earlier the file runs."""
        return self.other_name, self.distance, self.other_package


class Judges:
    """The imports of the code and of the tests, read once from the text of a tree."""

    def __init__(self, root: Path) -> None:
        files = [*sorted((root / CODE).rglob("*.py")), *sorted((root / "tests").rglob("*.py"))]
        names = {module_name(path, root / path.relative_to(root).parts[0]): path for path in files}
        self._importers: dict[str, set[str]] = {name: set() for name in names}
        for name, path in names.items():
            for target in _targets(path, names):
                self._importers[target].add(name)
        self._tests = {
            name: path.relative_to(root).as_posix()
            for name, path in names.items()
            if name.startswith("tests.unit.") and path.name.startswith("test_")
        }

    def of(self, module: str) -> list[Judge]:
        """Return the test files of a module (a path below the code's folder)."""
        start = ".".join([CODE, *Path(module).with_suffix("").parts])
        distances, queue = {start: 0}, deque([start])
        while queue:
            name = queue.popleft()
            for importer in sorted(self._importers[name] - distances.keys()):
                distances[importer] = distances[name] + 1
                queue.append(importer)
        nearest = min((distances[name] for name in self._tests if name in distances), default=FARTHEST)
        found = []
        for name, path in self._tests.items():
            judge = Judge(
                other_name=not Path(path).stem.startswith(f"test_{Path(module).stem}"),
                distance=min(distances.get(name, FARTHEST + 1), FARTHEST + 1),
                other_package=not path.startswith(f"tests/unit/{Path(module).parts[0]}/"),
                path=path,
            )
            beside = path.startswith(f"tests/unit/{Path(module).parent.as_posix()}/")
            near = judge.distance <= FARTHEST and not judge.other_package
            if judge.distance <= max(nearest, 1) or beside or near:
                found.append(judge)
        return found


def within_budget(
    judges: Iterable[Judge], seconds: Callable[[str], float | None], budget_s: float
) -> list[tuple[str, float]]:
    """Return the test files that judge a mutant with their seconds: the closest first, one at least if one passes.

    Args:
        judges: of the mutant's module.
        seconds: how long a file takes without a mutant, None if it then fails; called only while a budget is left.
        budget_s: how long all of them together may take.
    """
    chosen: list[tuple[str, float]] = []
    for judge in sorted(judges, key=lambda one: (one.rank, one.path)):
        left = budget_s - sum(spent for _, spent in chosen)
        if chosen and left < LEAST_S:
            break
        needed = seconds(judge.path)
        if needed is not None and (not chosen or needed <= left):
            chosen.append((judge.path, needed))
    return chosen


def _targets(path: Path, names: Mapping[str, Path]) -> set[str]:
    found = set()
    for module, members in imported(ast.parse(path.read_text(encoding="utf-8"))):
        for target in [f"{module}.{one}" for one in members] or [module]:
            found.update({target if target in names else module} & names.keys())
    return found
