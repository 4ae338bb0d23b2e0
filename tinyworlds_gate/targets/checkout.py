"""Somebody's TinyWorlds checkout as a target: scripts, interpreter, words, log patterns, by kind or description."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import readable_root
from tinyworlds_gate.targets.base import Target, TargetLayout, Words
from tinyworlds_gate.targets.capabilities import CAPABILITIES
from tinyworlds_gate.targets.description import TargetDescription, read_description
from tinyworlds_gate.targets.detect import Detection, detect, require_known
from tinyworlds_gate.targets.log_lines import LogPatterns

MAY_CHANGE = ("results", "inference_results", "wandb", "Logs", "docs/action", "data")
"""Folders of a checkout that a run may write to; everything else is the same afterwards (``tree.py``)."""

INTERPRETERS = (".venv/bin/python", "venv/bin/python")


def checkout_target(
    repo: Path, *, kind: str | None = None, python: Path | None = None, description: Path | None = None
) -> Target | None:
    """The target in ``repo``; None when the folder is a project of this harness (kind ``embedded``).

    Args:
        repo: root of the checkout.
        kind: overrides what its files say.
        python: the interpreter of its processes; its own ``.venv`` where it has one, else ours.
        description: a file that describes a fork which renamed things.

    Raises:
        ConfigError: the folder is no checkout, its kind cannot be told, files are missing, or an argument is wrong.
    """
    root = readable_root(repo)
    if os.pathsep in str(root):
        raise ConfigError(
            f"--target-repo {root}: the checkout's root goes on PYTHONPATH, where {os.pathsep!r} separates two "
            "folders; rename the folder, or name it by a link without that sign."
        )
    told = None if description is None else read_description(description)
    if kind is not None:
        require_known(kind)
    if told is not None and kind is not None and kind != told.kind:
        raise ConfigError(
            f"--target-kind {kind} contradicts kind: {told.kind} in --target-file {description}; leave one of them out."
        )
    found = detect(root, kind) if told is None else _described(root, told, str(description))
    if found.kind not in CAPABILITIES or found.kind == "embedded":
        return None
    target = _target(root, found, told or TargetDescription.model_validate({"kind": found.kind}), python)
    target.check_files()
    return target


def choose_python(root: Path, given: Path | None) -> tuple[Path, str]:
    """The interpreter and why it was chosen; the path is kept as it is, since a resolved link leaves its environment.

    Raises:
        ConfigError: the given one is no file.
    """
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"--target-python {given} is no file; give the path of a Python interpreter.")
        return given.absolute(), "--target-python"
    for name in INTERPRETERS:
        if (root / name).is_file():
            return root / name, f"the checkout's own {name}"
    return Path(sys.executable), "this harness's own, since the checkout has no .venv"


def _described(root: Path, told: TargetDescription, path: str) -> Detection:
    if not root.is_dir():
        raise ConfigError(f"--target-repo {root} is not a folder; give the root of a TinyWorlds checkout.")
    return Detection(told.kind, (f"described by {Path(path).name}{f' as {told.name}' if told.name else ''}",))


def _target(root: Path, found: Detection, told: TargetDescription, python: Path | None) -> Target:
    names = told.stage_names()
    return Target(
        kind=found.kind,
        root=root,
        python=choose_python(root, python)[0],
        stage_scripts={stage: root / getattr(told.scripts, stage) for stage in STAGES},
        inference_script=root / told.scripts.inference,
        config_dir=root / told.configs,
        can=told.capable(CAPABILITIES[found.kind]),
        patterns=LogPatterns(**told.patterns.model_dump()),
        layout=TargetLayout(**told.layout.model_dump()),
        words=Words(
            renamed=dict(told.renamed),
            training=dict(told.overrides.training),
            inference=dict(told.overrides.inference),
            environment=dict(told.environment),
        ),
        stage_names=names,
        told=found.told(),
    )


def own_stage_name(target: Target, stage: str) -> str:
    """What the target calls a stage."""
    return target.stage_names.get(stage, stage)


def contract_stage(target: Target, own: str) -> str:
    """The contract's stage of a target's own name; the name itself where it is none."""
    return next((stage for stage, name in target.stage_names.items() if name == own), own)


def renamed(target: Target, words: Sequence[tuple[str, object]]) -> dict[str, object]:
    """``key=value`` words under the target's own keys, in their order."""
    return {target.words.renamed.get(key, key): value for key, value in words}
