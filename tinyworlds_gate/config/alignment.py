"""Rules C1 to C3: whether the settings files agree. They are read as raw YAML, so checkouts can be checked too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tinyworlds_gate.config.yaml_io import flatten, read_mapping
from tinyworlds_gate.names import BACKBONE_KEYS, SHORT_NAMES, SIZE_KEYS, STAGES

CHECKPOINT_KEYS = ("checkpoint", "ckpt", "resume", "video_tokenizer_path", "latent_actions_path", "dynamics_path")
"""A string under a key that contains one of these words is a checkpoint path."""

CHECKPOINT_VALUE = re.compile(r"checkpoint|ckpt|_step_[0-9]|(^|/)results/|\.(pt|pth|safetensors)$", re.IGNORECASE)
"""A string that matches is a checkpoint path, whatever its key."""


Alignment = Literal["strict", "inject", "report"]
"""``--align-backbone``."""


@dataclass(frozen=True)
class Check:
    """The result of one rule (the journal's ``config_checked``)."""

    id: str
    verdict: Literal["PASS", "DEGRADED", "FAIL"]
    reason: str


Files = Path | Mapping[str, Path]
"""A folder of settings files, or name (``training.yaml``) → file."""


def beside(used: Path, project_root: Path) -> list[Path]:
    """Return the project's configs/ where a run reads its settings elsewhere and C1 to C3 must hold there as well."""
    configs = project_root / "configs"
    whole = all((configs / f"{name}.yaml").is_file() for name in ("training", *STAGES))
    return [configs] if whole and configs != used else []


def check_folders(folders: Mapping[Path, Path]) -> list[Check]:
    """C1, C2 and C3 for several folders of settings: a rule holds when it holds in each.

    Args:
        folders: folder → the folder that sentences name instead, where a person edits the files.

    Raises:
        ConfigError: a file of a folder is missing or malformed.
    """
    by_folder = [check_alignment(folder, shown) for folder, shown in folders.items()]
    checks = []
    for same_rule in zip(*by_folder, strict=True):
        failed = dict.fromkeys(check.reason for check in same_rule if check.verdict == "FAIL")
        checks.append(_check(same_rule[0].id, list(failed), same_rule[0].reason))
    return checks


def check_alignment(config_dir: Path, shown: Path | None = None) -> list[Check]:
    """Check C1, C2 and C3 for a folder of settings files; unknown keys are ignored.

    Args:
        shown: the folder that the sentences name; None for the folder itself.

    Raises:
        ConfigError: a file of the folder is missing or malformed.
    """
    return _checks(config_dir, shown or config_dir)


def check_checkout(
    read_from: Files, shown: Mapping[str, Path], align: Alignment, fixed: Mapping[str, Any] | None = None
) -> list[Check]:
    """Check C1, C2 and C3 for a checkout's settings files, under ``--align-backbone``.

    Args:
        read_from: the files by the contract's names.
        shown: name (``dynamics.yaml``) → the file of the checkout.
        align: ``--align-backbone``.
        fixed: values that ``--target-file`` sets on every command line.

    Raises:
        ConfigError: a file is missing or malformed.
    """
    return _checks(read_from, shown, align, fixed or {})


def _checks(
    read_from: Files, shown: Files, align: Alignment | None = None, fixed: Mapping[str, Any] = {}
) -> list[Check]:
    """``align``: None for a project of this harness, whose stages take every size from training.yaml."""

    def read(name: str) -> tuple[Path, dict[str, Any]]:
        file, path = (place / name if isinstance(place, Path) else place[name] for place in (read_from, shown))
        return path, dict(flatten(read_mapping(file)))

    training_path, training = read("training.yaml")
    stages = dict(read(f"{stage}.yaml") for stage in STAGES)
    keys = tuple(key for key in BACKBONE_KEYS if key not in fixed)
    problems = _backbone(keys, training_path, training, stages)
    if align in ("inject", "report"):
        c2 = _aligned(align, keys, training_path, {**training, **fixed}, stages)
    else:
        c2 = _check("C2", problems, f"{', '.join(BACKBONE_KEYS)} are the same in every stage.")
        if problems and align == "strict":
            c2 = Check("C2", c2.verdict, f"{c2.reason} {_ways_out(keys, training, stages)}")
    sizes, paths = _sizes(training_path, training, stages), _hard_coded(stages, align is not None)
    return [
        _check("C1", sizes, f"{', '.join(SIZE_KEYS)} come from {training_path.name}."),
        c2,
        _check("C3", paths, "No stage file names a checkpoint; paths are injected at run time."),
    ]


def effective_backbone(training: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the backbone that a checkout's stage trains with: training.yaml takes precedence over the stage's file."""
    return {
        key: value
        for key in BACKBONE_KEYS
        if (value := training.get(key) if training.get(key) is not None else stage.get(key)) is not None
    }


def backbone_text(backbone: Mapping[str, Any]) -> str:
    """``embed_dim 32, num_heads 8, hidden_dim 128, num_blocks 4``."""
    return ", ".join(f"{key} {backbone[key]}" for key in BACKBONE_KEYS if key in backbone)


def _aligned(
    align: Alignment,
    keys: tuple[str, ...],
    training_path: Path,
    training: Mapping[str, Any],
    stages: Mapping[Path, Mapping[str, Any]],
) -> Check:
    """C2 under ``inject`` and ``report``."""
    effective = {path: effective_backbone(training, leaves) for path, leaves in stages.items()}
    tokenizer = next(iter(stages))
    if align == "inject":
        given = effective[tokenizer]
        unset = [key for key in keys if key not in given]
        if unset:
            problem = f"neither {training_path} nor {tokenizer} sets {', '.join(unset)}; set it in one of them."
            return Check("C2", "FAIL", f"--align-backbone inject: {problem}")
        replaced = [
            f"{key} {leaves[key]} of {path.name}"
            for path, leaves in stages.items()
            for key in keys
            if leaves.get(key) not in (None, given[key])
        ]
        instead = f"; this replaces {', '.join(replaced)}" if replaced else ""
        what = f"gives every stage {backbone_text(given)} on its command line{instead}."
        return Check("C2", "PASS", f"--align-backbone inject {what}")
    unset = [f"{key} for {path}" for path, own in effective.items() for key in keys if key not in own]
    if unset:
        return Check("C2", "FAIL", f"--align-backbone report: nothing sets {', '.join(unset)}; set it in that file.")
    if len({tuple(own[key] for key in keys) for own in effective.values()}) == 1:
        return Check("C2", "PASS", f"{', '.join(BACKBONE_KEYS)} are the same in every stage.")
    table = "; ".join(f"{stage} {backbone_text(own)}" for stage, own in zip(STAGES, effective.values(), strict=True))
    return Check("C2", "DEGRADED", f"--align-backbone report: each stage trains with its own backbone: {table}.")


def _ways_out(keys: tuple[str, ...], training: Mapping[str, Any], stages: Mapping[Path, Mapping[str, Any]]) -> str:
    """Return the options of C2 as a sentence; ``inject`` gives every stage the tokenizer's backbone."""
    given = effective_backbone(training, next(iter(stages.values())))
    inject = ""
    if all(key in given for key in keys):
        inject = f"--align-backbone inject gives every stage {backbone_text(given)}; "
    return (
        f"Without an edit: {inject}--align-backbone report trains each stage with its own sizes (C2 is then DEGRADED)."
    )


def shared_conflicts(
    keys: tuple[str, ...], training_path: Path, training: Mapping[str, Any], stage_path: Path, stage: Mapping[str, Any]
) -> list[str]:
    """Return a sentence for each shared key that a stage file sets to another value than training.yaml."""
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


def _backbone(
    keys: tuple[str, ...], training_path: Path, training: Mapping[str, Any], stages: Mapping[Path, Mapping[str, Any]]
) -> list[str]:
    problems: list[str] = []
    for key in keys:
        if training.get(key) is not None:
            for path, leaves in stages.items():
                problems += shared_conflicts((key,), training_path, training, path, leaves)
            continue
        set_in = {path: leaves[key] for path, leaves in stages.items() if leaves.get(key) is not None}
        lacking = [path.name for path in stages if path not in set_in]
        if lacking:
            problems.append(
                f"`{key}` is set neither in {training_path} nor in {', '.join(lacking)}; set it once, in "
                f"{training_path}."
            )
        first_path, first = next(iter(set_in.items()), (training_path, None))
        for path, value in set_in.items():
            if value != first:
                problems.append(
                    f"`{key}` is {first!r} in {first_path} but {value!r} in {path}; set it once, in {training_path}, "
                    "and remove it from the stage files."
                )
    return problems


def _hard_coded(stages: Mapping[Path, Mapping[str, Any]], is_checkout: bool) -> list[str]:
    elsewhere = ", here or in a copy outside the checkout that {} names" if is_checkout else ""
    return [
        f"{path} hard-codes a checkpoint path: `{key}: {text}`. Set it to null"
        f"{elsewhere.format(f'--{short}-config')}; the loop injects this run's checkpoint "
        "(by hand: --video-checkpoint, --latent-checkpoint, --dynamics-checkpoint)."
        for short, (path, leaves) in zip(SHORT_NAMES, stages.items(), strict=True)
        for key, text in _texts("", leaves)
        if text.strip() and (any(word in key.lower() for word in CHECKPOINT_KEYS) or CHECKPOINT_VALUE.search(text))
    ]


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield each string below a value with its dotted key, through mappings and lists."""
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
