"""Where this package is installed: its settings and validation tests, and the command that starts the closed loop."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(name: str) -> Path:
    """Return the package's ``configs`` or ``validation``: inside it in a wheel, beside it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def is_checkout() -> bool:
    """Return whether the package runs from a checkout of its repository."""
    return shipped_folder("validation").parent != PACKAGE


TYPED_AGAIN = ("target_repo", "target_python", "target_file")
"""Options of a checkout that name programs to run: a resumed run takes them from the person, not from its journal."""


def resume_command(kind: str, run: str, options: object) -> str:
    """Return the command that goes on with ``results/<run>``; ``options`` are those that it was started with."""
    known = options if isinstance(options, Mapping) else {}
    given = [(name, known.get(name)) for name in (*TYPED_AGAIN, "output_root")]
    place = "".join(f" --{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in given if value)
    return f"{loop_command(kind)}{place} --resume-run results/{run}"


def loop_command(kind: str) -> str:
    """Return the command of the closed loop, ``smoke`` or ``longrun``, for this installation."""
    kind = kind if kind in ("smoke", "longrun") else "smoke"  # it may be read from somebody else's journal
    return f"pytest -m {kind}" if is_checkout() else f"pytest --pyargs tinyworlds_gate.validation -m {kind}"
