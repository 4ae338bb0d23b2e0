"""Print figures of the package's structure: modules, lines, imports between packages, import circles.

    python -m tests.helpers.import_graph [FOLDER]

Every import counts: at the top of a module, inside a function, and under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "tinyworlds_gate"


def module_name(path: Path, package: Path) -> str:
    """Return the dotted name of a module: ``tinyworlds_gate/run/lock.py`` → ``tinyworlds_gate.run.lock``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_of(package: Path) -> dict[str, Path]:
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}


def imported(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def import_graph(package: Path) -> dict[str, set[str]]:
    """Return module → the modules of this package that it imports, also lazily or under ``TYPE_CHECKING``."""
    modules = modules_of(package)
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = graph.setdefault(name, set())
        for module, names in imported(ast.parse(path.read_text(encoding="utf-8"))):
            for target in [f"{module}.{one}" for one in names] or [module]:
                known = target if target in modules else module
                if known in modules and known != name:
                    found.add(known)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of modules that import one another (strongly connected components of two or more)."""
    reachable = {start: _reach(graph, start) for start in graph}
    groups = {frozenset(two for two in reachable[one] if one in reachable[two]) for one in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reach(graph: dict[str, set[str]], start: str) -> set[str]:
    seen, left = set(), [start]
    while left:
        for after in graph[left.pop()]:
            if after not in seen:
                seen.add(after)
                left.append(after)
    return seen | {start}


def part_of(module: str) -> str:
    """Return the top-level package of a module; a module of the root is its own part."""
    return [*module.split("."), "__init__"][1]


def part_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for module, targets in graph.items():
        part = parts.setdefault(part_of(module), set())
        part.update(part_of(target) for target in targets if part_of(target) != part_of(module))
    return parts


def figures(package: Path) -> dict[str, object]:
    graph = import_graph(package)
    parts = part_graph(graph)
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules_of(package).values()]
    own = [count for count, path in zip(lines, modules_of(package).values(), strict=True) if path.name != "__init__.py"]
    return {
        "modules": len(own),
        "modules_at_the_root": sum(1 for path in package.glob("*.py") if not path.name.startswith("__")),
        "lines": sum(lines),
        "median_lines_a_module": statistics.median(own),
        "parts": len(parts) - ("__init__" in parts),
        "arrows_between_parts": sum(len(targets) for targets in parts.values()),
        "arrows_between_modules": sum(len(targets) for targets in graph.values()),
        "circles_of_parts": circles({part: targets & parts.keys() for part, targets in parts.items()}),
        "circles_of_modules": circles(graph),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    print(json.dumps(figures(folder / PACKAGE), indent=2))
