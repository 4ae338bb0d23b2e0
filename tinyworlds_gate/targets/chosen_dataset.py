"""Check that a checkout can train on the dataset of ``--dataset``: its settings, its loader and its description."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.config.yaml_io import flatten, read_mapping
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.clip_loader import read_clip_loader


def chosen_dataset(target: Target, given: str) -> str:
    """Return the dataset in the spelling of the checkout's loader; any spelling where its code shows no names.

    Raises:
        ConfigError: its loader knows no such dataset, ``--target-file`` sets another one, or its settings files have no
            such setting, so that the argument would have no effect.
    """
    key = target.arguments.renamed.get("dataset", "dataset")
    for part, added in (("training", target.arguments.training), ("inference", target.arguments.inference)):
        if str(added.get(key, given)).upper() != given.upper():
            raise ConfigError(
                f"--dataset {given} contradicts `overrides: {{{part}: {{{key}: {added[key]}}}}}` of the --target-file; "
                "leave one of them out."
            )
    if not _is_setting(target, key):
        shown = _shown(target)
        raise ConfigError(
            f"--dataset {given} cannot be honoured by this checkout: {shown} has no setting `{key}` that its command "
            "line could replace. Leave the option out, or name the setting with `renamed: {dataset: …}` in a "
            "--target-file."
        )
    names = read_clip_loader(target.root).names
    own = {name.upper(): name for name in names}
    if names and given.upper() not in own:
        raise ConfigError(f"--dataset {given} is none that this checkout loads; give one of {', '.join(names)}.")
    return own.get(given.upper(), given)


def _is_setting(target: Target, key: str) -> bool:
    """Whether training.yaml has the key, or the file of each stage."""
    if _has(read_mapping(target.training_config), key):
        return True
    return all(_has(read_mapping(target.stage_config(stage)), key) for stage in STAGES)


def _has(values: Mapping[str, object], key: str) -> bool:
    return key in values or key in dict(flatten(values))


def _shown(target: Target) -> str:
    path = target.training_config
    return str(path.relative_to(target.root) if path.is_relative_to(target.root) else path)
