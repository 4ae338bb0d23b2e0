"""The built-in defaults of the settings and the limits of each value. ``pytest tests/unit/config/test_schema.py``"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tinyworlds_gate.config.schema import (
    DistributedConfig,
    DynamicsConfig,
    InferenceConfig,
    LatentActionsConfig,
    Schema,
    StageConfig,
    TrainingConfig,
    VideoTokenizerConfig,
)

SIZES = ("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions")
BACKBONE = ("embed_dim", "num_heads", "hidden_dim", "num_blocks")
STAGE_NUMBERS = ("batch_size_per_gpu", "gradient_accumulation_steps", "n_updates", "learning_rate", "log_interval")
REQUIRED: dict[type[Schema], dict[str, Any]] = {
    DistributedConfig: {},
    TrainingConfig: {"dataset": "ZELDA", **dict.fromkeys((*SIZES, *BACKBONE), 2)},
    **{
        schema: dict.fromkeys(STAGE_NUMBERS, 1)
        for schema in (StageConfig, VideoTokenizerConfig, LatentActionsConfig, DynamicsConfig)
    },
    InferenceConfig: {"dataset": "ZELDA"},
}
"""The keys that a file must set, with a valid value."""

OF_EVERY_STAGE = {
    "checkpoint": None,
    "schedule_start": 0,
    "schedule_end": None,
    "warmup_fraction": 0.05,
    "adam_beta2": 0.999,
    "max_grad_norm": 1.0,
    "keep_checkpoints": 3,
}
DEFAULTS: dict[type[Schema], dict[str, Any]] = {
    DistributedConfig: {
        "use_ddp": True,
        "use_fsdp": False,
        "reshard_after_forward": True,
        "fsdp_mixed_precision": False,
        "offload_policy": False,
    },
    TrainingConfig: {
        "data_path": None,
        "preload_ratio": None,
        "fps": 15,
        "device": "auto",
        "nproc_per_node": 2,
        "standalone": True,
        "distributed": DistributedConfig(),
        "amp": True,
        "tf32": True,
        "compile": False,
        "cuda_graphs": True,
        "use_wandb": False,
        "wandb_project": "tinyworlds",
        "seed": 0,
        "held_out_fraction": 0.1,
        "split_seed": 0,
        "log_every": 50,
        "held_out_every": 250,
    },
    StageConfig: OF_EVERY_STAGE,
    VideoTokenizerConfig: {**OF_EVERY_STAGE, "frame_by_frame": False, "unusual_weight": 0.0},
    LatentActionsConfig: {
        **OF_EVERY_STAGE,
        "frame_pairs": False,
        "antisymmetric_dims": 0,
        "match_patches": False,
        "translation_weight": 0.0,
        "film_std": 1e-3,
        "code_entropy_floor": 0.0,
        "code_entropy_weight": 0.0,
        "changed_weight": 0.0,
    },
    DynamicsConfig: {
        **OF_EVERY_STAGE,
        "use_actions": True,
        "masking": "clip",
        "whole_frame_share": 0.5,
        "context_noise": 0.0,
        "own_context": 0.0,
        "true_context": 3,
        "token_choice": "likeliest",
        "pixel_loss": 0.0,
        "pixel_frames": None,
        "changed_weight": 0.0,
        "video_tokenizer_path": None,
        "latent_actions_path": None,
    },
    InferenceConfig: {
        "data_path": None,
        "preload_ratio": None,
        "fps": 15,
        "device": "auto",
        "use_latest_checkpoints": False,
        "video_tokenizer_path": None,
        "latent_actions_path": None,
        "dynamics_path": None,
        "use_actions": True,
        "use_gt_actions": True,
        "use_interactive_mode": False,
        "teacher_forced": False,
        "context_window": None,
        "prediction_horizon": 1,
        "generation_steps": 12,
        "decode_steps": 16,
        "temperature": 0.0,
        "token_choice": "likeliest",
        "memory_window": None,
        "rollout": "tokens",
        "tf32": True,
        "seed": 0,
        "sample_index": None,
        "clips": 64,
        "clip_seed": 0,
        "clip_draw": 0,
        "evaluation_file": None,
        "left_out_clips": "",
        "batch_size": 16,
        "held_out_fraction": 0.1,
        "split_seed": 0,
        "measures_path": None,
    },
}


@pytest.mark.parametrize("schema", DEFAULTS, ids=lambda schema: schema.__name__)
def test_what_no_file_states_has_its_documented_default(schema: type[Schema]) -> None:
    made = schema(**REQUIRED[schema])
    assert made.model_dump() | {"distributed": getattr(made, "distributed", None)} == {
        "distributed": None,
        **REQUIRED[schema],
        **DEFAULTS[schema],
    }
    assert schema(**made.model_dump()) == made, "a default is itself an allowed value"


FRACTION = ((1e-9, 0.999), (0.0, 1.0))
SEED = ((0, 2**32 - 1), (-1, 2**32))
SHARE = ((0.0, 1.0), (-0.001, 1.001))
LIMITS: list[tuple[type[Schema], str, tuple[Any, ...], tuple[Any, ...]]] = [
    *((TrainingConfig, key, (2,), (0,)) for key in (*SIZES, *BACKBONE)),
    *((TrainingConfig, key, (1,), ()) for key in ("patch_size", "latent_dim", "num_heads", "hidden_dim", "num_blocks")),
    *((TrainingConfig, key, (2,), (1,)) for key in ("context_length", "num_bins", "n_actions")),
    *((schema, "fps", (1, 60), (0, 61)) for schema in (TrainingConfig, InferenceConfig)),
    *((schema, "preload_ratio", (1e-9, 1.0), (0.0, 1.001)) for schema in (TrainingConfig, InferenceConfig)),
    *((TrainingConfig, key, *SEED) for key in ("seed", "split_seed")),
    *((TrainingConfig, key, (1,), (0,)) for key in ("nproc_per_node", "log_every")),
    (TrainingConfig, "held_out_fraction", *FRACTION),
    (TrainingConfig, "held_out_every", (0,), (-1,)),
    (TrainingConfig, "device", ("auto", "cpu", "cuda", "cuda:0"), ("tpu", "cuda:", "cpu:0")),
    (TrainingConfig, "dataset", ("A", "a-1_b"), ("", "1a", "a/b")),
    *((StageConfig, key, (1,), (0,)) for key in STAGE_NUMBERS),
    (StageConfig, "learning_rate", (1e-9, 1.0), (0.0, 1.001, float("nan"))),
    (StageConfig, "schedule_start", (0,), (-1,)),
    (StageConfig, "schedule_end", (1,), (0,)),
    (StageConfig, "warmup_fraction", (0.0, 0.999), (-0.001, 1.0)),
    (StageConfig, "adam_beta2", *FRACTION),
    (StageConfig, "max_grad_norm", (1e-9,), (0.0,)),
    (StageConfig, "keep_checkpoints", (1,), (0,)),
    *(
        (LatentActionsConfig, key, (0.0, 2.0), (-0.001,))
        for key in ("translation_weight", "code_entropy_floor", "code_entropy_weight")
    ),
    (LatentActionsConfig, "antisymmetric_dims", (0, 1), (-1,)),
    (LatentActionsConfig, "film_std", (1e-9,), (0.0,)),
    (DynamicsConfig, "context_noise", (0.0, 0.999), (-0.001, 1.0)),
    (VideoTokenizerConfig, "unusual_weight", (0.0, 2.0), (-0.001,)),
    (LatentActionsConfig, "changed_weight", (0.0, 2.0), (-0.001,)),
    *((DynamicsConfig, key, (0.0, 2.0), (-0.001,)) for key in ("pixel_loss", "changed_weight")),
    *((DynamicsConfig, key, *SHARE) for key in ("whole_frame_share", "own_context")),
    *((DynamicsConfig, key, (1,), (0,)) for key in ("true_context", "pixel_frames")),
    (InferenceConfig, "temperature", (0.0, 2.0), (-0.001,)),
    (InferenceConfig, "sample_index", (0,), (-1,)),
    (InferenceConfig, "clip_draw", (0, 1, 2, 3), (-1, 4)),
    (InferenceConfig, "held_out_fraction", (1e-9, 1.0), (0.0, 1.001)),
    *((InferenceConfig, key, *SEED) for key in ("seed", "clip_seed", "split_seed")),
    *(
        (InferenceConfig, key, (1,), (0,))
        for key in (
            *("context_window", "prediction_horizon", "generation_steps", "decode_steps", "memory_window"),
            *("clips", "batch_size"),
        )
    ),
]
BESIDE: dict[type[Schema], dict[str, Any]] = {
    LatentActionsConfig: {"frame_pairs": True},
    DynamicsConfig: {"masking": "next_frame"},
    InferenceConfig: {"evaluation_file": "frames.h5"},
}
"""What else a file must set, so that the value alone decides."""


@pytest.mark.parametrize(
    ("schema", "key", "allowed", "refused"), LIMITS, ids=[f"{one[0].__name__}-{one[1]}" for one in LIMITS]
)
def test_a_value_is_allowed_up_to_its_limits(
    schema: type[Schema], key: str, allowed: tuple[Any, ...], refused: tuple[Any, ...]
) -> None:
    base = {**REQUIRED[schema], **BESIDE.get(schema, {})}
    for value in allowed:
        assert getattr(schema(**{**base, key: value}), key) == value
    for value in refused:
        with pytest.raises(ValidationError, match=key):
            schema(**{**base, key: value})


def problem(schema: type[Schema], **values: Any) -> str | None:
    """Return why the values do not fit together, or None."""
    try:
        schema(**{**REQUIRED[schema], **values})
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return None


@pytest.mark.requirement("H7")
def test_a_schedule_begins_before_its_end_and_reaches_the_last_update() -> None:
    assert problem(StageConfig, n_updates=10, schedule_start=9) is None
    assert problem(StageConfig, n_updates=10, schedule_end=10, schedule_start=9) is None
    assert problem(StageConfig, n_updates=10, schedule_end=20, schedule_start=19) is None
    for start in (10, 11):
        said = f"schedule_start {start} must be before the schedule's end 10"
        assert problem(StageConfig, n_updates=10, schedule_start=start) == said
    assert problem(StageConfig, n_updates=10, schedule_end=20, schedule_start=20) == (
        "schedule_start 20 must be before the schedule's end 20"
    )
    assert problem(StageConfig, n_updates=10, schedule_end=9) == (
        "schedule_end 9 is before n_updates 10; the schedule must reach the last update"
    )


def test_sizes_that_do_not_divide_are_refused_with_both_numbers() -> None:
    assert problem(TrainingConfig, frame_size=6, patch_size=3) is None
    assert "frame_size 6 is not a multiple of patch_size 4" in str(problem(TrainingConfig, frame_size=6, patch_size=4))
    assert "embed_dim 6 is not a multiple of num_heads 4" in str(problem(TrainingConfig, embed_dim=6, num_heads=4))
    assert [problem(TrainingConfig, n_actions=number) for number in (2, 4, 8)] == [None] * 3
    for number in (3, 6, 12):
        assert problem(TrainingConfig, n_actions=number) == f"n_actions {number} is not a power of two (2, 4, 8, …)"


def test_a_key_that_needs_another_one_is_refused_without_it() -> None:
    assert problem(LatentActionsConfig, antisymmetric_dims=1, frame_pairs=True) is None
    assert problem(LatentActionsConfig, antisymmetric_dims=1) == (
        "antisymmetric_dims 1 needs frame_pairs: true; set that, or antisymmetric_dims to 0"
    )
    for key in ("context_noise", "own_context", "pixel_loss"):
        assert problem(DynamicsConfig, masking="next_frame", **{key: 0.5}) is None
        said = f"{key} 0.5 needs masking: next_frame; set that, or {key} to 0"
        assert problem(DynamicsConfig, **{key: 0.5}) == said
    assert problem(InferenceConfig, clip_draw=3, evaluation_file="frames.h5") is None
    assert str(problem(InferenceConfig, clip_draw=3)).startswith("clip_draw 3 measures the clips of evaluation_file")


def test_a_schema_is_frozen_strict_and_finite() -> None:
    made = StageConfig(**REQUIRED[StageConfig])
    with pytest.raises(ValidationError, match="frozen"):
        made.n_updates = 2
    for value in (float("inf"), "1", True):
        with pytest.raises(ValidationError, match="max_grad_norm"):
            StageConfig(**{**REQUIRED[StageConfig], "max_grad_norm": value})
    with pytest.raises(ValidationError, match="Extra inputs"):
        StageConfig(**{**REQUIRED[StageConfig], "other": 1})
    assert problem(LatentActionsConfig, antisymmetric_dims=0) is None


@pytest.mark.parametrize(
    ("text", "allowed"), [("", True), ("12", True), ("12,400", True), ("12,", False), ("a", False)]
)
def test_the_clips_that_are_left_out_are_numbers(text: str, allowed: bool) -> None:
    assert (problem(InferenceConfig, left_out_clips=text) is None) is allowed


def test_a_rollout_step_is_named_by_the_settings_that_are_set() -> None:
    config = InferenceConfig(dataset="A", prediction_horizon=2)
    assert config.step_text(3) == "context_window=3 and prediction_horizon=2"
    memory = config.model_copy(update={"memory_window": 9})
    assert memory.step_text(3) == "context_window=3, memory_window=9 and prediction_horizon=2"
