"""Where this package is installed: its settings and validation tests, and the command that starts the closed loop."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(name: str) -> Path:
    """Return the package's ``configs`` or ``validation``: inside it in a wheel, beside it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def is_checkout() -> bool:
    """Return whether the package runs from a checkout of its repository."""
    return shipped_folder("validation").parent != PACKAGE


def loop_command(kind: str) -> str:
    """Return the command of the closed loop, ``smoke`` or ``longrun``, for this installation."""
    return f"pytest -m {kind}" if is_checkout() else f"pytest --pyargs tinyworlds_gate.validation -m {kind}"
