"""Find the setting that switches a failing line of a checkout on: the ``if`` around it, in its parsed source."""

from __future__ import annotations

import ast
from pathlib import PurePosixPath
from typing import Any

from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.targets.base import Target

FORCED = ("use_wandb",)
"""Settings that the harness itself sets to true, so that switching them off is no way out."""


def switch_hint(target: Target, stage: str, place: str | None) -> str | None:
    """Return how to leave the failing line out, if it runs only where a setting of the stage is true; else None.

    Args:
        target: a checkout.
        stage: the stage that failed.
        place: the line, ``folder/file.py:line``, as a traceback shows it.
    """
    if place is None or not target.is_checkout:
        return None
    file, _, line = place.rpartition(":")
    parts = PurePosixPath(file).parts
    path = next((one for at in range(len(parts)) if (one := target.root.joinpath(*parts[at:])).is_file()), None)
    if path is None or not line.isdigit():
        return None
    try:
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    except SyntaxError:
        return None
    settings = _settings(target, stage)
    on = [name for name in _conditions(tree, int(line)) if settings.get(name, (None, ""))[0] is True]
    if not on:
        return None
    name, source = on[-1], settings[on[-1]][1]
    return (
        f"That line runs only where `{name}: true` ({source}) holds. To leave it out: "
        f"`overrides: {{training: {{{name}: false}}}}` in a --target-file"
    )


def _conditions(tree: ast.Module, line: int) -> list[str]:
    """Return the names in the conditions around a line, the outermost first."""
    found = []
    for branch in ast.walk(tree):
        if isinstance(branch, ast.If) and branch.body[0].lineno <= line <= (branch.body[-1].end_lineno or 0):
            for part in ast.walk(branch.test):
                match part:
                    case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                        found.append(name)
    return found


def _settings(target: Target, stage: str) -> dict[str, tuple[Any, str]]:
    """Return setting → value and source, as the stage gets it: ``--target-file``, else training.yaml, else its file."""
    values = dict[str, tuple[Any, str]]()
    for path in (target.stage_config(stage), target.training_config):
        shown = path.relative_to(target.root).as_posix() if path.is_relative_to(target.root) else path.name
        values |= {key: (value, shown) for key, value in read_mapping(path).items() if value is not None}
    values |= {key: (value, "--target-file") for key, value in target.arguments.training.items()}
    return {key: value for key, value in values.items() if key not in FORCED}
