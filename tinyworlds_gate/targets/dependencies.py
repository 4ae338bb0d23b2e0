"""Find the packages that a checkout imports, and check that its interpreter has them, before anything starts.

The source is only parsed. The interpreter itself imports the packages, in a separate process.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.targets.base import Target

PIP_NAMES: Mapping[str, str] = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""Module → its distribution, if the names differ."""

LAUNCHER = ("torch",)
"""Packages that the launch itself needs (torchrun is part of torch)."""

_NOT_FOUND = re.compile(r"ModuleNotFoundError: No module named '(?P<top>[^'.]+)")
"""The module that is not installed: the imported one, or one that it needs."""
DEADLINE_S = 180.0
_PREFIX = "dependencies-answer:"
_PROGRAM = f"""
import importlib, json, sys
found = {{}}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
        found[name] = None
    except Exception as error:
        found[name] = f"{{type(error).__name__}}: {{error}}"
torch = sys.modules.get("torch")
gpus = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
print({_PREFIX!r} + json.dumps({{"found": found, "gpus": gpus, "torch": getattr(torch, "__version__", None),
      "python": sys.version.split()[0]}}))
"""


@dataclass(frozen=True)
class Interpreter:
    """Result of probing an interpreter; ``missing``: module → import error, ``gpus``: those visible to its torch."""

    path: Path
    missing: Mapping[str, str]
    imported: tuple[str, ...]
    python: str
    torch: str | None
    gpus: int


def imported_modules(target: Target) -> tuple[str, ...]:
    """Return the top-level names of the third-party packages that the target's four scripts need, in order.

    Imports of the checkout's own modules are followed. An import inside ``try … except ImportError`` is optional; one
    inside a function counts.
    """
    found: dict[str, None] = dict.fromkeys(LAUNCHER)
    for _, external in _walk(target.root, [*target.stage_scripts.values(), target.inference_script]):
        found |= dict.fromkeys(external)
    return tuple(found)


def own_sources(root: Path, script: Path) -> list[Path]:
    """Return a script and the checkout's own modules that it imports, also through each other, the script first."""
    return [file for file, _ in _walk(root, [script])]


def _walk(root: Path, pending: Sequence[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Yield each of the checkout's files that the pending ones reach, with the packages that it imports."""
    seen: set[Path] = set()
    waiting = list(pending)
    while waiting:
        file = waiting.pop(0)
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        external = []
        for dotted in _imports(file):
            own = _own_files(root, file, dotted)
            if own:
                waiting += own
            elif (top := dotted.lstrip(".").partition(".")[0]) and top not in sys.stdlib_module_names:
                external.append(top)
        yield file, external


def probe_interpreter(target: Target, environment: Mapping[str, str], modules: Sequence[str]) -> Interpreter:
    """Import the modules with the target's interpreter, in the working directory and environment of its stages.

    Raises:
        ConfigError: the interpreter does not start, fails, or does not finish.
    """
    command = [str(target.python), "-c", _PROGRAM, json.dumps(list(modules))]
    try:
        done = subprocess.run(
            command,
            cwd=target.root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"The interpreter {target.python} does not answer ({error}); name a working one with --target-python."
        ) from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    answer = next((line.removeprefix(_PREFIX) for line in reversed(lines) if line.startswith(_PREFIX)), None)
    if answer is None and done.returncode == -signal.SIGTERM:
        raise ConfigError(
            f"The interpreter {target.python} got SIGTERM from another process while it imported "
            f"{', '.join(modules)}, so its packages are not checked. A run that starts on the same checkout ends the "
            "processes that it finds there; start again when it has ended."
        )
    if answer is None:
        stderr = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(
            f"The interpreter {target.python} ended with {done.returncode} while it imported "
            f"{', '.join(modules)}: {stderr[-1] if stderr else 'no message'}. Name a working one with --target-python."
        )
    data = json.loads(answer)
    return Interpreter(
        path=target.python,
        missing={name: why for name, why in data["found"].items() if why is not None},
        imported=tuple(name for name, why in data["found"].items() if why is None),
        python=data["python"],
        torch=data["torch"],
        gpus=data["gpus"],
    )


def require_packages(interpreter: Interpreter) -> None:
    """Check that the interpreter has every package, and that each can be imported.

    Raises:
        ConfigError: with each module and reason, and the pip command that mends it.
    """
    if not interpreter.missing:
        return
    found = {name: _NOT_FOUND.match(why) for name, why in interpreter.missing.items()}
    absent = list(dict.fromkeys(match["top"] for match in found.values() if match is not None))
    broken = [name for name, match in found.items() if match is None]
    listed = "; ".join(f"{name} ({why})" for name, why in interpreter.missing.items())
    fixes = []
    if absent:
        fixes.append(f"Install what is missing with: {_pip_line(interpreter, absent)}")
    if broken:
        with_torch = {"torch": None, **dict.fromkeys(broken)}
        fixes.append(
            f"{', '.join(broken)} failed while Python imported it, most often because it was built for another torch "
            f"than {interpreter.torch}; reinstall versions that fit each other: "
            f"{_pip_line(interpreter, [*with_torch], '--force-reinstall')}"
        )
    raise ConfigError(
        f"The interpreter {interpreter.path} cannot import {len(interpreter.missing)} package(s) that the checkout "
        f"needs: {listed}. {'. '.join(fixes)}, or name another interpreter with --target-python."
    )


def _pip_line(interpreter: Interpreter, modules: Sequence[str], *options: str) -> str:
    names = [PIP_NAMES.get(name, name) for name in modules]
    return shlex.join([str(interpreter.path), "-m", "pip", "install", *options, *names])


def require_same_gpus(interpreter: Interpreter, gpus: int, device: str) -> None:
    """Check that the interpreter's torch can use as many GPUs as NVML lists.

    Raises:
        ConfigError: this torch cannot use all of them.
    """
    if device != "cpu" and interpreter.gpus < gpus:
        raise ConfigError(
            f"torch {interpreter.torch} of {interpreter.path} can use {interpreter.gpus} GPU(s), NVML shows {gpus}: "
            "install a CUDA build of torch for this driver there, or hide the GPUs with CUDA_VISIBLE_DEVICES= (empty)."
        )


def _imports(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{file} cannot be parsed ({error}); the checkout itself is broken.") from error
    yield from _imports_of(tree.body)


def _imports_of(body: Sequence[ast.AST]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}.{alias.name}" if node.module else f"{base}{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Try) and any(_catches_import(handler) for handler in node.handlers):
            yield from _imports_of([*node.orelse, *node.finalbody])
        elif not (isinstance(node, ast.If) and _for_types_only(node)):
            yield from _imports_of(list(ast.iter_child_nodes(node)))


def _catches_import(handler: ast.ExceptHandler) -> bool:
    names = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {"Exception"}
    )
    return bool(names & {"ImportError", "ModuleNotFoundError", "Exception"})


def _for_types_only(node: ast.If) -> bool:
    return any(isinstance(one, ast.Name | ast.Attribute) and "TYPE_CHECKING" in ast.dump(one) for one in [node.test])


def _own_files(root: Path, importer: Path, dotted: str) -> list[Path]:
    """Return the checkout's files for a dotted name: the module or package, and the packages above it."""
    level = len(dotted) - len(dotted.lstrip("."))
    parts = [part for part in dotted.lstrip(".").split(".") if part]
    bases = [importer.parents[level - 1]] if level else [root, importer.parent]
    for base in bases:
        files = []
        for count in range(1, len(parts) + 1):
            place = base.joinpath(*parts[:count])
            files += [one for one in (place.with_suffix(".py"), place / "__init__.py") if one.is_file()]
            # A folder without modules is no package: `wandb/` holds logged runs.
            if count == 1 and not files and not any(place.glob("*.py")):
                break
        else:
            return files or ([base] if level else [base / parts[0]])
    return []
