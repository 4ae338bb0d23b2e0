"""Find the mutants of a module and draw a seeded sample of a package."""

from __future__ import annotations

import ast
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import parso

from tests.mutants.operators import operators

WAITING = re.compile(r"(_S|_MS|TIMEOUT|POLL|INTERVAL)$", re.IGNORECASE)
"""Names of waiting times. Their numbers are not mutated: a test of 10 s against 11 s measures the clock."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    """Path below the code's folder."""
    line: int
    """Line of the change, from 1."""
    within: str
    """Qualified name of the function or class around it; empty at module level."""
    operator: str
    before: str
    """The changed lines, stripped, as they are."""
    after: str
    source: str
    """Text of the whole mutated module."""

    @property
    def key(self) -> str:
        return f"{self.module}::{self.within}::{self.before} → {self.after}"


@dataclass(frozen=True)
class Place:
    """A position in a module with the operators that apply to it."""

    module: str
    start: tuple[int, int]
    options: tuple[tuple[str, int], ...]
    """(name of the operator, number of its occurrence in the module)"""


def places(module: str, source: str) -> list[Place]:
    """Return the positions of a module that can be mutated, in order."""
    found: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    nodes = list(_nodes(parso.parse(source)))
    for name, operator in operators().items():
        for occurrence, (node, _, start) in enumerate(_occurrences(nodes, operator)):
            if not _is_left_out(node, name):
                found[start].append((name, occurrence))
    return [Place(module, start, tuple(options)) for start, options in sorted(found.items())]


def mutate(module: str, source: str, operator: str, occurrence: int) -> Mutant | None:
    """Return the mutant, or None where the text does not compile or is the same program.

    The `*` between the arguments of a function is no multiplication.
    """
    action = operators()[operator]
    node, index, start = list(_occurrences(_nodes(parso.parse(source)), action))[occurrence]
    if node.type == "operator" and node.parent.type in ("parameters", "lambdef"):
        return None
    within = _qualified_name(node)
    (first, column), (last, end_column) = node.start_pos, node.end_pos
    lines = source.splitlines(keepends=True)
    begin = sum(map(len, lines[: first - 1])) + column
    end = sum(map(len, lines[: last - 1])) + end_column
    changed = action.mutate(node, index).get_code(include_prefix=False).lstrip(" ")
    text = source[:begin] + changed + source[end:]
    try:
        if ast.dump(ast.parse(text)) == ast.dump(ast.parse(source)):
            return None
    except (SyntaxError, ValueError):
        return None
    before, after = _difference(source, text)
    return Mutant(module, start[0], within, operator, before, after, text)


def draw(sources: Mapping[str, str], size: int, seed: str) -> list[Mutant]:
    """Return ``size`` mutants of these modules (path → text), each at another position.

    The order comes from a hash of seed, module and line, so that a change of the code leaves the mutants of all other
    lines in the sample.
    """
    every = [
        (_chance(seed, module, *_position(place, lines)), place)
        for module, source in sorted(sources.items())
        for lines in [source.splitlines()]
        for place in places(module, source)
    ]
    drawn: dict[str, Mutant] = {}
    for _, place in sorted(every, key=lambda one: one[0]):
        if len(drawn) == size:
            break
        options = sorted(place.options, key=lambda option: _chance(seed, str(place.start[1]), option[0]))
        for name, occurrence in options:
            mutant = mutate(place.module, sources[place.module], name, occurrence)
            if mutant is not None:
                drawn.setdefault(mutant.key, mutant)
                break
    return list(drawn.values())


def _position(place: Place, lines: list[str]) -> tuple[str, str]:
    """Return the stripped line and the column in it."""
    line, column = lines[place.start[0] - 1], place.start[1]
    return line.strip(), str(column - len(line) + len(line.lstrip()))


def _chance(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def mutants_of_lines(module: str, source: str, before: str) -> Iterator[Mutant]:
    """Yield every mutant of the lines that read ``before``; for the list of equivalent mutants."""
    wanted = {number for number, line in enumerate(source.splitlines(), start=1) if line.strip() in before.split("\n")}
    for place in places(module, source):
        if place.start[0] in wanted:
            for name, occurrence in place.options:
                mutant = mutate(module, source, name, occurrence)
                if mutant is not None:
                    yield mutant


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def _occurrences(nodes: Iterable[Any], operator: Any) -> Iterator[tuple[Any, int, tuple[int, int]]]:
    """Yield (node, index of the change at that node, its position)."""
    for node in nodes:
        for index, (start, _) in enumerate(operator.mutation_positions(node)):
            yield node, index, start


def _is_left_out(node: Any, operator: str) -> bool:
    """Return whether a mutant here shows nothing: in an annotation, an import, a block that tests do not run, an
    argument of ``@dataclass``, or the number of a waiting time."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type in ("tfpdef", "import_from", "import_name"):
            return True
        if parent.type == "decorator" and parent.get_code(include_prefix=False).startswith("@dataclass("):
            return True
        if parent.type == "annassign" and parent.children[1] is child:
            return True
        if parent.type == "funcdef" and _before(parent, child) == "->":
            return True
        if operator == "NumberReplacer" and _is_waiting_time(parent):
            return True
        if _is_skipped_block(child):
            return True
        child, parent = parent, parent.parent
    return False


def _is_skipped_block(node: Any) -> bool:
    if node.type != "if_stmt":
        return False
    test = node.children[1].get_code(include_prefix=False)
    return test.endswith("TYPE_CHECKING") or test.startswith("__name__ ==")


def _is_waiting_time(parent: Any) -> bool:
    if parent.type not in ("expr_stmt", "argument", "param"):
        return False
    name = parent.children[0]
    name = name.children[0] if name.type == "tfpdef" else name
    return bool(WAITING.search(name.get_code(include_prefix=False)))


def _before(parent: Any, child: Any) -> str:
    at = parent.children.index(child)
    return str(getattr(parent.children[at - 1], "value", "")) if at else ""


def _qualified_name(node: Any) -> str:
    names = []
    while node is not None:
        if node.type in ("funcdef", "classdef"):
            names.append(node.name.value)
        node = node.parent
    return ".".join(reversed(names))


def _difference(old: str, new: str) -> tuple[str, str]:
    was, now = old.splitlines(), new.splitlines()
    first = next(i for i in range(max(len(was), len(now))) if was[i : i + 1] != now[i : i + 1])
    same = 0
    while same < min(len(was), len(now)) - first and was[-1 - same] == now[-1 - same]:
        same += 1
    return tuple("\n".join(one[first : len(one) - same]) for one in (_stripped(was), _stripped(now)))  # type: ignore[return-value]


def _stripped(lines: list[str]) -> list[str]:
    return [line.strip() for line in lines]
