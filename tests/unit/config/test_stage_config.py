"""Settings that the embedded reference does not support, each with its limit and the fix.

pytest tests/unit/config/test_stage_config.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.config_files import copy_profile
from tinyworlds_gate.config.schema import (
    DynamicsConfig,
    InferenceConfig,
    LatentActionsConfig,
    StageConfig,
    TrainingConfig,
    VideoTokenizerConfig,
)
from tinyworlds_gate.config.stage_config import (
    load_stage_config,
    parse_overrides,
    read_leaves,
    require_supported_inference,
    require_supported_stage,
)
from tinyworlds_gate.errors import ConfigError

SIZES = ("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions")
BACKBONE = ("embed_dim", "num_heads", "hidden_dim", "num_blocks")
NUMBERS = ("batch_size_per_gpu", "gradient_accumulation_steps", "n_updates", "learning_rate", "log_interval")
SHARDED = {"distributed": {"use_fsdp": True}}


def training(**values: Any) -> TrainingConfig:
    return TrainingConfig(**{"dataset": "A", **dict.fromkeys((*SIZES, *BACKBONE), 2), "n_actions": 8, **values})


def stage(schema: type[StageConfig], **values: Any) -> StageConfig:
    return schema(**{**dict.fromkeys(NUMBERS, 1), **values})


NO_ACTIONS = "the embedded dynamics always follows latent actions; set it to true"
ALL_FRAMES = "the embedded reference reads all frames; set it to 1.0 or null"
FEW_DIMS = "five translations need three dims of an action; set n_actions to 8 or more, or translation_weight to 0"
PAIRS = {"frame_pairs": True}


@pytest.mark.parametrize(
    ("shared", "schema", "own", "said"),
    [
        ({}, VideoTokenizerConfig, {}, None),
        (SHARDED, DynamicsConfig, {}, None),
        (
            SHARDED,
            DynamicsConfig,
            {"masking": "next_frame"},
            "`distributed.use_fsdp` is not supported: it is untested with masking: next_frame; set one of the two "
            "to its "
            "default",
        ),
        ({}, DynamicsConfig, {"masking": "next_frame"}, None),
        ({}, LatentActionsConfig, {**PAIRS, "antisymmetric_dims": 3}, None),
        (
            {},
            LatentActionsConfig,
            {**PAIRS, "antisymmetric_dims": 4},
            "`antisymmetric_dims` is not supported: 8 actions have 3 dims (n_actions is 2 to that power); set it to at "
            "most 3",
        ),
        ({}, LatentActionsConfig, {"code_entropy_floor": 2.0}, None),
        (
            {},
            LatentActionsConfig,
            {"code_entropy_floor": 2.1},
            "`code_entropy_floor` is not supported: the entropy of 8 codes is at most 2.08 nats; lower it",
        ),
        ({}, LatentActionsConfig, {"translation_weight": 0.5}, None),
        ({"n_actions": 4}, LatentActionsConfig, {"translation_weight": 0.0}, None),
        *(({"n_actions": number}, VideoTokenizerConfig, {}, None) for number in (2, 4)),
        ({"n_actions": 4}, LatentActionsConfig, {"translation_weight": 0.5}, f"`translation_weight` is not "
        f"supported: {FEW_DIMS}"),
        ({"distributed": {"offload_policy": True}, "compile": True}, StageConfig, {}, None),
        (
            {"distributed": {"use_fsdp": True, "offload_policy": True}},
            StageConfig,
            {},
            "`distributed.offload_policy` is not supported: shards stay on their device, where the optimizer runs; "
            "set it "
            "to false, or shard over more GPUs",
        ),
        (
            {**SHARDED, "compile": True},
            StageConfig,
            {},
            "`compile` is not supported: it is untested with sharded blocks (distributed.use_fsdp); set it to false",
        ),
        ({"preload_ratio": 1.0}, StageConfig, {}, None),
        ({"preload_ratio": 0.5}, StageConfig, {}, f"`preload_ratio` is not supported: {ALL_FRAMES}"),
        ({}, DynamicsConfig, {"use_actions": False}, f"`use_actions` is not supported: {NO_ACTIONS}"),
    ],
)  # fmt: skip
def test_what_a_stage_supports(
    shared: dict[str, Any], schema: type[StageConfig], own: dict[str, Any], said: str | None
) -> None:
    call = lambda: require_supported_stage(training(**shared), stage(schema, **own))  # noqa: E731
    if said is None:
        call()
        return
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value) == f"The value of {said}."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, None),
        ({"preload_ratio": 1.0, "token_choice": "mean", "temperature": 0.0}, None),
        ({"use_interactive_mode": True}, "`use_interactive_mode` is not supported: the gate runs unattended; set it to "
         "false"),
        ({"use_actions": False}, f"`use_actions` is not supported: {NO_ACTIONS}"),
        (
            {"use_gt_actions": False},
            "`use_gt_actions` is not supported: a rollout that follows random actions cannot be compared with the true "
            "future; set it to true",
        ),
        ({"context_window": 3, "memory_window": 3}, None),
        ({"memory_window": 1}, None),
        ({"context_window": 3}, None),
        (
            {"context_window": 3, "memory_window": 2},
            "`memory_window` is not supported: it must be at least context_window (3 frames); set it to 3 or more, "
            "or to "
            "null",
        ),
        ({"temperature": 0.5}, None),
        (
            {"temperature": 0.5, "token_choice": "mean"},
            "`token_choice` is not supported: the predicted mean cannot be sampled; set temperature to 0, or "
            "token_choice "
            "to likeliest",
        ),
        (
            {"sample_index": 0},
            "`sample_index` is not supported: one clip is not enough for a measurement; set it to null and choose the "
            "number of clips with `clips`",
        ),
        ({"preload_ratio": 0.5}, f"`preload_ratio` is not supported: {ALL_FRAMES}"),
    ],
)  # fmt: skip
def test_what_inference_supports(values: dict[str, Any], said: str | None) -> None:
    inference = InferenceConfig(dataset="A", **values)
    if said is None:
        require_supported_inference(inference)
        return
    with pytest.raises(ConfigError) as caught:
        require_supported_inference(inference)
    assert str(caught.value) == f"The value of {said}."


KNOWN = ["a", "group.b", "group.c"]


def test_overrides_are_typed_and_the_last_one_of_a_key_counts() -> None:
    assert parse_overrides(["a=1", "group.b==", "a=x y", "group={c: 2}"], KNOWN) == {
        "a": "x y",
        "group.b": "=",
        "group.c": 2,
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("a", "The argument `a` has no `=`; write settings as key=value, e.g. n_updates=200."),
        ("a=[", "`a=[`: the value is not valid YAML (line 1, column 2: while parsing a flow node, expected the node "
         "content, but found '<stream end>'). Quote it."),
        ("group=1", "`group=1`: `group` is a group of settings, not one value; set them by name, e.g. `group.b`. "
        "Correct "
         "or remove it."),
        ("group.d=1", "`group.d=1`: unknown key `group.d`. Did you mean `group.b`? Correct or remove it."),
        ("zzzzz=1", "`zzzzz=1`: unknown key `zzzzz`. Correct or remove it."),
    ],
)  # fmt: skip
def test_an_override_that_is_wrong_is_named(word: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["a=1", word, "a=2"], KNOWN)
    assert str(caught.value).replace("`group.c`?", "`group.b`?") == said


def test_every_unknown_key_of_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\ngroup: {b: 2}\n")
    assert read_leaves(path, KNOWN) == {"a": 1, "group.b": 2}
    path.write_text("zzzzz: 1\ngroup: 2\na: 3\n")
    with pytest.raises(ConfigError) as caught:
        read_leaves(path, KNOWN)
    assert str(caught.value) == (
        f"{path}: unknown key `zzzzz`. `group` is a group of settings, not one value; set them by name, e.g. "
        f"`group.b`. "
        "Correct or remove it; unknown keys are never ignored."
    )


def test_a_stage_s_settings_are_checked_before_it_runs(tmp_path: Path) -> None:
    folder = copy_profile("smoke", tmp_path)
    with pytest.raises(ConfigError, match="`preload_ratio` is not supported"):
        load_stage_config("dynamics", folder / "dynamics.yaml", folder / "training.yaml", ["preload_ratio=0.5"])
