"""Settings of one stage script or of the inference script: its files and the ``key=value`` overrides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tinyworlds_gate.config.schema import STAGE_SCHEMAS, InferenceConfig, StageConfig, TrainingConfig
from tinyworlds_gate.config.strict_yaml import problem_text
from tinyworlds_gate.config.yaml_io import (
    did_you_mean,
    field_paths,
    flatten,
    parse_value,
    read_mapping,
    unflatten,
    validate_tree,
)
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES

DEFAULT_SOURCE = "built-in default"


@dataclass(frozen=True)
class StageRunConfig:
    """Settings of a stage script."""

    training: TrainingConfig
    stage: StageConfig


def load_stage_config(
    stage: str, config_path: Path, training_config_path: Path, overrides: Sequence[str]
) -> StageRunConfig:
    """Load a stage's settings: ``key=value`` > training.yaml (keys of the stage) > the stage's file.

    TinyWorlds silently ignores unknown keys and arguments without ``=``; here both are errors.

    Raises:
        ConfigError: a file is missing or malformed, a key is unknown, a value is not allowed.
    """
    schema = STAGE_SCHEMAS[check_stage(stage)]
    training_keys, stage_keys = field_paths(TrainingConfig), field_paths(schema)
    values = read_leaves(config_path, training_keys + stage_keys)
    values |= read_leaves(training_config_path, training_keys + field_paths(StageConfig))
    values |= parse_overrides(overrides, training_keys + stage_keys)
    where = f"{config_path} with {training_config_path}"
    training = validate_tree(TrainingConfig, unflatten({k: v for k, v in values.items() if k in training_keys}), where)
    config = validate_tree(schema, unflatten({k: v for k, v in values.items() if k in stage_keys}), where)
    require_supported_stage(training, config)
    return StageRunConfig(training, config)


def load_inference_config(config_path: Path, overrides: Sequence[str]) -> InferenceConfig:
    """Load the inference script's settings: ``key=value`` > its file.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown, a value is not allowed.
    """
    known = field_paths(InferenceConfig)
    values = read_leaves(config_path, known) | parse_overrides(overrides, known)
    inference = validate_tree(InferenceConfig, unflatten(values), str(config_path))
    require_supported_inference(inference)
    return inference


NOT_WITH_FSDP = "it is untested with masking: next_frame; set one of the two to its default"
NOT_SAMPLED = "the predicted mean cannot be sampled; set temperature to 0, or token_choice to likeliest"
TRANSLATION_DIMS = 3
TOO_FEW_DIMS = "five translations need three dims of an action; set n_actions to 8 or more, or translation_weight to 0"
NO_ACTIONS = "the embedded dynamics always follows latent actions; set it to true"
ALL_FRAMES = "the embedded reference reads all frames; set it to 1.0 or null"


def require_supported_stage(training: TrainingConfig, stage: StageConfig) -> None:
    """Reject settings that the embedded reference does not support.

    Raises:
        ConfigError: one of them is set to such a value.
    """
    sharded = training.distributed.use_fsdp
    offload = "shards stay on their device, where the optimizer runs; set it to false, or shard over more GPUs"
    compiled = "it is untested with sharded blocks (distributed.use_fsdp); set it to false"
    next_frame = getattr(stage, "masking", "clip") == "next_frame"
    dims = training.n_actions.bit_length() - 1
    antisymmetric = getattr(stage, "antisymmetric_dims", 0)
    entropy = getattr(stage, "code_entropy_floor", 0.0)
    _reject(
        ("distributed.use_fsdp", sharded and next_frame, NOT_WITH_FSDP),
        (
            "antisymmetric_dims",
            antisymmetric > dims,
            f"{training.n_actions} actions have {dims} dims (n_actions is 2 to that power); set it to at most {dims}",
        ),
        (
            "code_entropy_floor",
            entropy > math.log(training.n_actions),
            f"the entropy of {training.n_actions} codes is at most {math.log(training.n_actions):.2f} nats; lower it",
        ),
        ("translation_weight", getattr(stage, "translation_weight", 0.0) > 0 and dims < TRANSLATION_DIMS, TOO_FEW_DIMS),
        ("distributed.offload_policy", sharded and training.distributed.offload_policy, offload),
        ("compile", sharded and training.compile, compiled),
        ("preload_ratio", training.preload_ratio not in (None, 1.0), ALL_FRAMES),
        ("use_actions", not getattr(stage, "use_actions", True), NO_ACTIONS),
    )


def require_supported_inference(inference: InferenceConfig) -> None:
    """Reject inference settings that the embedded reference does not support.

    Raises:
        ConfigError: one of them is set to such a value.
    """
    random = "a rollout that follows random actions cannot be compared with the true future; set it to true"
    context, memory = inference.context_window, inference.memory_window
    small = f"it must be at least context_window ({context} frames); set it to {context} or more, or to null"
    one_clip = "one clip is not enough for a measurement; set it to null and choose the number of clips with `clips`"
    _reject(
        ("use_interactive_mode", inference.use_interactive_mode, "the gate runs unattended; set it to false"),
        ("use_actions", not inference.use_actions, NO_ACTIONS),
        ("use_gt_actions", not inference.use_gt_actions, random),
        ("memory_window", context is not None and memory is not None and memory < context, small),
        ("token_choice", inference.token_choice != "likeliest" and inference.temperature > 0, NOT_SAMPLED),
        ("sample_index", inference.sample_index is not None, one_clip),
        ("preload_ratio", inference.preload_ratio not in (None, 1.0), ALL_FRAMES),
    )


def _reject(*settings: tuple[str, bool, str]) -> None:
    for key, unsupported, reason in settings:
        if unsupported:
            raise ConfigError(f"The value of `{key}` is not supported: {reason}.")


def check_stage(stage: str) -> str:
    """Return a stage's name unchanged if it is one of the three.

    Raises:
        ConfigError: it is not.
    """
    if stage not in STAGES:
        raise ConfigError(
            f"`{stage}` is not a stage; use one of {', '.join(STAGES)}.{did_you_mean(stage, list(STAGES))}"
        )
    return stage


def read_leaves(path: Path, known: list[str]) -> dict[str, Any]:
    """Read a settings file as dotted key → value.

    Raises:
        ConfigError: the file has a key that is not in ``known``.
    """
    leaves = dict(flatten(read_mapping(path)))
    problems = [problem for key in leaves if (problem := _key_problem(key, known))]
    if problems:
        raise ConfigError(f"{path}: {' '.join(problems)} Correct or remove it; unknown keys are never ignored.")
    return leaves


def parse_overrides(arguments: Sequence[str], known: list[str]) -> dict[str, Any]:
    """Parse ``key=value`` arguments to dotted key → typed value; the last value of a key counts.

    Raises:
        ConfigError: an argument has no ``=``, its key is unknown, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise ConfigError(f"The argument `{argument}` has no `=`; write settings as key=value, e.g. n_updates=200.")
        try:
            value = parse_value(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"`{argument}`: the value is not valid YAML ({problem_text(error)}). Quote it."
            ) from error
        for dotted, leaf in flatten({key: value}):
            problem = _key_problem(dotted, known)
            if problem:
                raise ConfigError(f"`{argument}`: {problem} Correct or remove it.")
            values[dotted] = leaf
    return values


def _key_problem(key: str, known: list[str]) -> str:
    """Return why a key is not allowed; an empty string if it is."""
    if key in known:
        return ""
    group = [name for name in known if name.startswith(f"{key}.")]
    if group:
        return f"`{key}` is a group of settings, not one value; set them by name, e.g. `{group[0]}`."
    return f"unknown key `{key}`.{did_you_mean(key, known)}"
