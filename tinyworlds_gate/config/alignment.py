"""C1–C3: do the settings files agree? Read as raw YAML, so that a TinyWorlds checkout's folder is judged as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tinyworlds_gate.config.schema import BACKBONE_KEYS, SIZE_KEYS
from tinyworlds_gate.config.yaml_io import flatten, read_mapping
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES

CHECKPOINT_KEYS = ("checkpoint", "ckpt", "resume", "video_tokenizer_path", "latent_actions_path", "dynamics_path")
"""A text under a key with one of these words names a checkpoint."""

CHECKPOINT_VALUE = re.compile(r"checkpoint|ckpt|_step_[0-9]|(^|/)results/|\.(pt|pth|safetensors)$", re.IGNORECASE)
"""A text that looks like this names a checkpoint, under whichever key."""


@dataclass(frozen=True)
class Check:
    """One rule's answer (the journal's ``config_checked``)."""

    id: str
    verdict: Literal["PASS", "FAIL"]
    reason: str


def check_alignment(config_dir: Path) -> list[Check]:
    """C1, C2 and C3 for a folder of settings; keys that ours does not know are tolerated.

    Raises:
        ConfigError: a file of the folder is missing or malformed.
    """
    training_path = config_dir / "training.yaml"
    training = dict(flatten(read_mapping(training_path)))
    stages = {
        config_dir / f"{stage}.yaml": dict(flatten(read_mapping(config_dir / f"{stage}.yaml"))) for stage in STAGES
    }
    return [
        _check(
            "C1", _sizes(training_path, training, stages), f"{', '.join(SIZE_KEYS)} come from {training_path.name}."
        ),
        _check(
            "C2", _backbone(training_path, training, stages), f"{', '.join(BACKBONE_KEYS)} are the same in every stage."
        ),
        _check("C3", _hard_coded(stages), "No stage file names a checkpoint; paths are injected at run time."),
    ]


def require_alignment(config_dir: Path) -> list[Check]:
    """The checks, all of them passed.

    Raises:
        ConfigError: one or more failed; the message has every reason.
    """
    checks = check_alignment(config_dir)
    failed = [f"{check.id}: {check.reason}" for check in checks if check.verdict == "FAIL"]
    if failed:
        raise ConfigError("The settings files do not agree; nothing was started.\n" + "\n".join(failed))
    return checks


def shared_conflicts(
    keys: tuple[str, ...], training_path: Path, training: Mapping[str, Any], stage_path: Path, stage: Mapping[str, Any]
) -> list[str]:
    """A sentence for each shared key that a stage file sets to another value than training.yaml."""
    return [
        f"`{key}` is {stage[key]!r} in {stage_path} but {training[key]!r} in {training_path}; remove it from "
        f"{stage_path.name}, the stages take it from {training_path.name}."
        for key in keys
        if key in stage and key in training and stage[key] != training[key]
    ]


def _sizes(training_path: Path, training: Mapping[str, Any], stages: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    missing = [key for key in SIZE_KEYS if training.get(key) is None]
    problems = [
        f"`{key}` is missing in {training_path}; add it there, all stages take it from there." for key in missing
    ]
    for path, leaves in stages.items():
        problems += shared_conflicts(SIZE_KEYS, training_path, training, path, leaves)
    return problems


def _backbone(training_path: Path, training: Mapping[str, Any], stages: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    problems: list[str] = []
    for key in BACKBONE_KEYS:
        if training.get(key) is not None:
            for path, leaves in stages.items():
                problems += shared_conflicts((key,), training_path, training, path, leaves)
            continue
        set_in = {path: leaves[key] for path, leaves in stages.items() if leaves.get(key) is not None}
        lacking = [path.name for path in stages if path not in set_in]
        if lacking:
            problems.append(
                f"`{key}` stands neither in {training_path} nor in {', '.join(lacking)}; set it once, in "
                f"{training_path}."
            )
        first_path, first = next(iter(set_in.items()), (training_path, None))
        for path, value in set_in.items():
            if value != first:
                problems.append(
                    f"`{key}` is {first!r} in {first_path} but {value!r} in {path}; set it once, in {training_path}."
                )
    return problems


def _hard_coded(stages: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    return [
        f"{path} hard-codes a checkpoint path: `{key}: {text}`. Set it to null; the loop injects this run's checkpoint "
        "(by hand: --video-checkpoint, --latent-checkpoint, --dynamics-checkpoint)."
        for path, leaves in stages.items()
        for key, text in _texts("", leaves)
        if text.strip() and (any(word in key.lower() for word in CHECKPOINT_KEYS) or CHECKPOINT_VALUE.search(text))
    ]


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text below a value with the dotted key that leads to it, through mappings and lists."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(f"{key}.{name}" if key else str(name), item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(key, item)


def _check(rule: str, problems: list[str], holds: str) -> Check:
    return Check(rule, "FAIL", " ".join(problems)) if problems else Check(rule, "PASS", holds)
