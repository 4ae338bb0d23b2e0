"""Build the target for an external TinyWorlds checkout, from its kind or a description file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import readable_root
from tinyworlds_gate.targets.base import Target, TargetArguments
from tinyworlds_gate.targets.capabilities import CAPABILITIES
from tinyworlds_gate.targets.code_reading import CodeReading, read_code
from tinyworlds_gate.targets.description import TargetDescription, read_description
from tinyworlds_gate.targets.detect import Detection, detect, require_known

MAY_CHANGE = ("results", "inference_results", "wandb", "Logs", "docs/action", "data")
"""Folders of a checkout that a run may write to; ``fingerprint.py`` checks that nothing else changes."""

INTERPRETERS = (".venv/bin/python", "venv/bin/python")


def checkout_target(
    repo: Path,
    *,
    kind: str | None = None,
    python: Path | None = None,
    description: Path | None = None,
    stage_configs: Mapping[str, str] | None = None,
) -> Target | None:
    """Return the target in ``repo``; None if the folder is a project of this harness (kind ``embedded``).

    Args:
        repo: root of the checkout.
        kind: overrides the detected kind.
        python: the interpreter of its processes; default: the checkout's ``.venv`` if it has one, else ours.
        description: a file that describes a fork with other names.
        stage_configs: stage → its settings file, relative to the root or absolute; these override the description.

    Raises:
        ConfigError: the folder is no checkout, its kind is unclear, files are missing, or an argument is wrong.
    """
    root = readable_root(repo)
    if os.pathsep in str(root):
        raise ConfigError(
            f"--target-repo {root}: the checkout's root goes on PYTHONPATH, where {os.pathsep!r} separates two "
            "folders; rename the folder, or use a link without that character."
        )
    fork = None if description is None else read_description(description)
    if kind is not None:
        require_known(kind)
    if fork is not None and kind is not None and kind != fork.kind:
        raise ConfigError(
            f"--target-kind {kind} contradicts kind: {fork.kind} in --target-file {description}; omit one of them."
        )
    found = detect(root, kind) if fork is None else _described_kind(root, fork, str(description))
    if found.kind not in CAPABILITIES or found.kind == "embedded":
        return None
    fork = fork or TargetDescription.model_validate({"kind": found.kind})
    target = _target(root, found, fork, python, stage_configs or {})
    target.check_files()
    return target


def choose_python(root: Path, given: Path | None) -> tuple[Path, str]:
    """Return the interpreter and why it was chosen; links are not resolved, since that would leave the venv.

    Raises:
        ConfigError: ``given`` is not a file.
    """
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"--target-python {given} is not a file; give the path of a Python interpreter.")
        return Path(os.path.abspath(given)), "--target-python"
    for name in INTERPRETERS:
        if (root / name).is_file():
            return root / name, f"the checkout's own {name}"
    return Path(sys.executable), "this harness's own, since the checkout has no .venv"


def _described_kind(root: Path, fork: TargetDescription, path: str) -> Detection:
    if not root.is_dir():
        raise ConfigError(f"--target-repo {root} is not a folder; give the root of a TinyWorlds checkout.")
    return Detection(fork.kind, (f"described by {Path(path).name}{f' as {fork.name}' if fork.name else ''}",))


def _target(
    root: Path, found: Detection, fork: TargetDescription, python: Path | None, stage_configs: Mapping[str, str]
) -> Target:
    names = fork.stage_names()
    settings = {**fork.settings.model_dump(exclude_none=True), **stage_configs}
    scripts = {stage: root / getattr(fork.scripts, stage) for stage in STAGES}
    inference = root / fork.scripts.inference
    missing = [path for path in (*scripts.values(), inference) if not path.is_file()]
    updates = fork.renamed.get("n_updates", "n_updates")
    code = CodeReading() if missing else read_code(root, scripts, inference, updates)
    of_kind = CAPABILITIES[found.kind]
    described = fork.capabilities.resumes is not None
    return Target(
        kind=found.kind,
        root=root,
        python=choose_python(root, python)[0],
        stage_scripts=scripts,
        inference_script=inference,
        config_dir=root / fork.configs,
        can=fork.capabilities_of(of_kind, code.capabilities(vars(of_kind))),
        patterns=fork.patterns,
        layout=fork.layout,
        arguments=TargetArguments(
            renamed=dict(fork.renamed),
            training=dict(fork.overrides.training),
            inference=dict(fork.overrides.inference),
            environment=dict(fork.environment),
        ),
        settings_files={name: root / path for name, path in settings.items()},
        stage_names=names,
        readings=code.readings,
        resuming=None if described else code.of_stages("resumes", of_kind.resumes),
        kind_reason=found.describe(),
    )


def own_stage_name(target: Target, stage: str) -> str:
    """Return the target's own name of a stage."""
    return target.stage_names.get(stage, stage)


def contract_stage(target: Target, own: str) -> str:
    """Return the contract's stage for a target's own name; any other name is returned unchanged."""
    return next((stage for stage, name in target.stage_names.items() if name == own), own)


def added_words(target: Target) -> dict[str, object]:
    """Return what ``--target-file`` adds to every stage's command line, under the contract's keys."""
    contract = {own: key for key, own in target.arguments.renamed.items()}
    return {contract.get(key, key): value for key, value in target.arguments.training.items()}


def renamed(target: Target, arguments: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return ``key=value`` arguments under the target's own keys, in order."""
    return {target.arguments.renamed.get(key, key): value for key, value in arguments}
