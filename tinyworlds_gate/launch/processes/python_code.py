"""Which stage scripts and modules the code of ``python -c`` runs itself (pure): without their names in comments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_RUNS_A_FILE = "runpy.run_path"
_RUNS_A_MODULE = ("runpy.run_module", "importlib.import_module", "__import__")
_LAUNCHERS = ("torch.", "multiprocessing.", "accelerate.", "deepspeed.", "concurrent.")
"""Packages whose functions run a function, a script or a module that they are given."""
_LONGEST = 100_000


@dataclass(frozen=True)
class CodePrograms:
    """``executed`` are scripts whose text is run, so that no stack names them; ``scripts`` are run as files, and the
    functions of ``called``: (module, function).

    The function is None for a module that is imported, and ``<module>`` for one that is run. ``folders`` are those that
    the code adds to ``sys.path``.
    """

    executed: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()
    called: frozenset[tuple[str, str | None]] = frozenset()
    folders: tuple[str, ...] = ()


def programs_in(source: str) -> CodePrograms:
    """Return what the code runs in its own process; nothing for code that cannot be parsed."""
    if len(source) > _LONGEST:
        return CodePrograms()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return CodePrograms()
    nodes = list(ast.walk(tree))
    names = _imported_names(nodes)
    executed, scripts = set[str](), set[str]()
    called, folders = set[tuple[str, str | None]](), list[str]()
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        function = _full_name(call.func, names)
        texts = list(_texts(call))
        launcher = function.startswith(_LAUNCHERS)
        files = {text for text in texts if text.endswith(".py")}
        if function == "exec":
            executed |= files
        if function == _RUNS_A_FILE or launcher:
            scripts |= files
        if function in _RUNS_A_MODULE or launcher:
            called |= {(text, "<module>") for text in texts if re.fullmatch(r"[A-Za-z_][\w.]*", text)}
        if function in ("sys.path.insert", "sys.path.append"):
            folders += texts
        used = [function]
        if launcher:
            used += (_full_name(node, names) for node in ast.walk(call) if isinstance(node, ast.Name | ast.Attribute))
        called |= {(module, name) for module, _, name in (one.rpartition(".") for one in used) if module}
    for name in names.values():
        called |= {(name, None), (name.rpartition(".")[0], None)}
    called.discard(("", None))
    return CodePrograms(frozenset(executed), frozenset(scripts), frozenset(called), tuple(folders))


def _imported_names(nodes: list[ast.AST]) -> dict[str, str]:
    """Local name → full name: of modules, and of what is imported from them."""
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                names[one.asname or one.name] = one.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def _full_name(node: ast.AST, names: Mapping[str, str]) -> str:
    """``t.main`` as ``scripts.train.main`` after ``import scripts.train as t``; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.insert(0, node.id)
    for length in range(len(parts), 0, -1):
        if (name := names.get(".".join(parts[:length]))) is not None:
            return ".".join([name, *parts[length:]])
    return ".".join(parts)


def _texts(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
