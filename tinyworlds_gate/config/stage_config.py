"""The settings of one stage script or of the inference script: its files and the ``key=value`` words after them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tinyworlds_gate.config.schema import STAGE_SCHEMAS, InferenceConfig, StageConfig, TrainingConfig
from tinyworlds_gate.config.yaml_io import did_you_mean, field_paths, flatten, parse_value, read_mapping, set_dotted
from tinyworlds_gate.config.yaml_io import validated as validate_tree
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES

DEFAULT_SOURCE = "built-in default"


@dataclass(frozen=True)
class StageRunConfig:
    """Everything a stage script runs on, and where each value came from."""

    training: TrainingConfig
    stage: StageConfig
    provenance: Mapping[str, str]
    """Dotted key → "command line", the file, or "built-in default"."""


@dataclass(frozen=True)
class InferenceRunConfig:
    """Everything the inference script runs on, and where each value came from."""

    inference: InferenceConfig
    provenance: Mapping[str, str]


def load_stage_config(
    stage: str, config_path: Path, training_config_path: Path, overrides: Sequence[str]
) -> StageRunConfig:
    """A stage's settings: ``key=value`` > training.yaml (keys the stage knows) > the stage's file (tinyworlds.md §2).

    TinyWorlds ignores unknown keys and words without ``=`` in silence; here both are errors.

    Raises:
        ConfigError: a file is missing or malformed, a key is unknown, a value is not allowed.
    """
    schema = STAGE_SCHEMAS[check_stage(stage)]
    training_keys, stage_keys = field_paths(TrainingConfig), field_paths(schema)
    values = read_leaves(config_path, training_keys + stage_keys)
    sources = dict.fromkeys(values, str(config_path))
    for layer, source in (
        (read_leaves(training_config_path, training_keys + field_paths(StageConfig)), str(training_config_path)),
        (parse_overrides(overrides, training_keys + stage_keys), "command line"),
    ):
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    where = f"{config_path} with {training_config_path}"
    training = validate_tree(TrainingConfig, nested({k: v for k, v in values.items() if k in training_keys}), where)
    config = validate_tree(schema, nested({k: v for k, v in values.items() if k in stage_keys}), where)
    require_supported_stage(training, config)
    provenance = {key: sources.get(key, DEFAULT_SOURCE) for key in training_keys + stage_keys}
    return StageRunConfig(training, config, provenance)


def load_inference_config(config_path: Path, overrides: Sequence[str]) -> InferenceRunConfig:
    """The inference script's settings: ``key=value`` > its file.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown, a value is not allowed.
    """
    known = field_paths(InferenceConfig)
    values = read_leaves(config_path, known)
    words = parse_overrides(overrides, known)
    inference = validate_tree(InferenceConfig, nested({**values, **words}), str(config_path))
    require_supported_inference(inference)
    provenance = {
        key: "command line" if key in words else str(config_path) if key in values else DEFAULT_SOURCE for key in known
    }
    return InferenceRunConfig(inference, provenance)


NO_SHARDED_GUESSES = "masking: next_frame and shards were never tried together; set one of the two to its default"
NOT_SAMPLED = "a mean is a choice without chance; set temperature to 0, or token_choice to likeliest"
TRANSLATION_DIMS = 3
TOO_FEW_DIMS = "five translations need three dims of an action; set n_actions to 8 or more, or translation_weight to 0"
NO_ACTIONS = "the embedded dynamics always follows latent actions; set it to true"
ALL_FRAMES = "the embedded reference reads all frames; set it to 1.0 or null"


def require_supported_stage(training: TrainingConfig, stage: StageConfig) -> None:
    """Nothing is ignored in silence: keys of TinyWorlds that the embedded reference cannot honour are refused.

    Raises:
        ConfigError: one of them asks for it.
    """
    sharded = training.distributed.use_fsdp
    offload = "shards stay on their device, where the optimizer runs; set it to false, or shard over more GPUs"
    compiled = "blocks that are compiled and sharded (distributed.use_fsdp) were never tried together; set it to false"
    next_frame = getattr(stage, "masking", "clip") == "next_frame"
    dims = training.n_actions.bit_length() - 1
    antisymmetric = getattr(stage, "antisymmetric_dims", 0)
    entropy = getattr(stage, "code_entropy_floor", 0.0)
    _refuse(
        ("distributed.use_fsdp", sharded and next_frame, NO_SHARDED_GUESSES),
        (
            "antisymmetric_dims",
            antisymmetric > dims,
            f"{training.n_actions} actions have {dims} dims (n_actions is 2 to that power); set it to at most {dims}",
        ),
        (
            "code_entropy_floor",
            entropy > math.log(training.n_actions),
            f"{training.n_actions} codes tell at most {math.log(training.n_actions):.2f} nats; set it lower",
        ),
        ("translation_weight", getattr(stage, "translation_weight", 0.0) > 0 and dims < TRANSLATION_DIMS, TOO_FEW_DIMS),
        ("distributed.offload_policy", sharded and training.distributed.offload_policy, offload),
        ("compile", sharded and training.compile, compiled),
        ("preload_ratio", training.preload_ratio not in (None, 1.0), ALL_FRAMES),
        ("use_actions", not getattr(stage, "use_actions", True), NO_ACTIONS),
    )


def require_supported_inference(inference: InferenceConfig) -> None:
    """As :func:`require_supported_stage`, for the inference run.

    Raises:
        ConfigError: a key asks for what the embedded reference cannot do.
    """
    random = "a rollout that follows random actions cannot be compared with the true future; set it to true"
    context, memory = inference.context_window, inference.memory_window
    small = f"it must hold the {context} frames of context_window at least; set it to {context} or more, or to null"
    one_clip = "one clip is no measurement; set it to null and choose the number of clips with `clips`"
    _refuse(
        ("use_interactive_mode", inference.use_interactive_mode, "a gate has nobody at the keyboard; set it to false"),
        ("use_actions", not inference.use_actions, NO_ACTIONS),
        ("use_gt_actions", not inference.use_gt_actions, random),
        ("memory_window", context is not None and memory is not None and memory < context, small),
        ("token_choice", inference.token_choice != "likeliest" and inference.temperature > 0, NOT_SAMPLED),
        ("sample_index", inference.sample_index is not None, one_clip),
        ("preload_ratio", inference.preload_ratio not in (None, 1.0), ALL_FRAMES),
    )


def _refuse(*settings: tuple[str, bool, str]) -> None:
    for key, asked, reason in settings:
        if asked:
            raise ConfigError(f"`{key}` asks for what this target cannot do: {reason}.")


def check_stage(stage: str) -> str:
    """The stage's name, when it is one.

    Raises:
        ConfigError: it is none of the three.
    """
    if stage not in STAGES:
        raise ConfigError(f"`{stage}` is no stage; use one of {', '.join(STAGES)}.{did_you_mean(stage, list(STAGES))}")
    return stage


def read_leaves(path: Path, known: list[str]) -> dict[str, Any]:
    """A settings file as dotted key → value.

    Raises:
        ConfigError: the file holds a key that is not among ``known``.
    """
    leaves = dict(flatten(read_mapping(path)))
    problems = [problem for key in leaves if (problem := _key_problem(key, known))]
    if problems:
        raise ConfigError(f"{path}: {' '.join(problems)} Correct or remove it; nothing is ignored in silence.")
    return leaves


def parse_overrides(words: Sequence[str], known: list[str]) -> dict[str, Any]:
    """Words ``key=value`` as dotted key → typed value; of a key given twice the last counts.

    Raises:
        ConfigError: a word has no ``=``, its key is unknown, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"The word `{word}` has no `=`; settings are given as key=value, e.g. n_updates=200.")
        try:
            value = parse_value(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"`{word}`: the value is not valid YAML ({error}). Quote it.") from error
        for dotted, leaf in flatten({key: value}):
            problem = _key_problem(dotted, known)
            if problem:
                raise ConfigError(f"`{word}`: {problem} Correct or remove it.")
            values[dotted] = leaf
    return values


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        set_dotted(tree, key, value)
    return tree


def _key_problem(key: str, known: list[str]) -> str:
    """What is wrong with a key; empty when it is known."""
    if key in known:
        return ""
    group = [name for name in known if name.startswith(f"{key}.")]
    if group:
        return f"`{key}` holds several settings, not one value; set them by name, e.g. `{group[0]}`."
    return f"unknown key `{key}`.{did_you_mean(key, known)}"
