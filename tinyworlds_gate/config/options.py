"""The loop's own options, and which setting each command-line option sets (closed-loop.md, "Options")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from tinyworlds_gate.config.schema import PositiveInt, Schema, StageName
from tinyworlds_gate.names import SHORT_NAMES, TARGET_OPTIONS

INIT_KEYS: dict[str, str] = {
    "init_batch_size": "batch_size_per_gpu",
    "init_grad_accum": "gradient_accumulation_steps",
    "init_learning_rate": "learning_rate",
    "init_log_interval": "log_interval",
}
"""``--init-*`` → the stage's key."""


class LoopOptions(Schema):
    """Options that are settings of the loop itself and stand in no settings file."""

    train_stage: Literal["all", "none"] | StageName = "all"
    """H1: the whole pipeline unless asked otherwise."""
    checkpoint_policy: Literal["fresh", "latest"] = "fresh"
    """H2: new weights unless asked otherwise."""
    video_checkpoint: str | None = None
    latent_checkpoint: str | None = None
    dynamics_checkpoint: str | None = None
    nnodes: PositiveInt = 1
    """Machines that train together."""
    cleanup_extra_processes: bool = True
    enforce_dual_gpu_check: bool = True
    monitor_interval_sec: Annotated[float, Field(gt=0.0)] = 5.0
    gpu_util_threshold: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    gpu_required_samples: PositiveInt = 2
    enable_wandb_analysis: bool = True
    wandb_source: Literal["api_first", "api_only", "local_only"] = "api_first"
    history_audit_year: Annotated[int, Field(ge=1970, le=9999)] = 2025
    history_audit_mode: Literal["strict", "wide", "current_paths"] = "strict"


OPTION_KEYS: dict[str, tuple[str, ...]] = {
    **{name: (f"options.{name}",) for name in LoopOptions.model_fields},
    "profile": (),
    "project_root": (),
    "resume_run": (),
    **dict.fromkeys(TARGET_OPTIONS, ()),
    "node_rank": (),
    "rdzv_endpoint": (),
    "rdzv_id": (),
    "seed": ("profile.seed", "training.seed", "inference.seed"),
    "nproc_per_node": ("training.nproc_per_node",),
    "max_mse": ("profile.thresholds.max_mse",),
    "max_inference_retries": ("profile.retry.max",),
    "retry_chunk": ("profile.retry.chunk",),
    "retry_init_learning_rate": ("profile.retry.init_learning_rate",),
    "retry_lr_decay": ("profile.retry.lr_decay",),
    "retry_lr_floor": ("profile.retry.lr_floor",),
    "max_train_retries": ("profile.max_train_retries",),
    "teacher_forced": ("inference.teacher_forced",),
    "generation_steps": ("inference.generation_steps",),
    "context_window": ("inference.context_window",),
    "prediction_horizon": ("inference.prediction_horizon",),
    "decode_steps": ("inference.decode_steps",),
    "temperature": ("inference.temperature",),
    "evaluation_file": ("inference.evaluation_file",),
    **{f"{short}_chunk": (f"profile.stages.{stage}.chunk",) for short, stage in SHORT_NAMES.items()},
    **{
        f"{short}_target_updates": (f"profile.stages.{stage}.target_updates", f"stages.{stage}.n_updates")
        for short, stage in SHORT_NAMES.items()
    },
    **{
        f"{short}_{name}": (f"stages.{stage}.{key}",)
        for short, stage in SHORT_NAMES.items()
        for name, key in INIT_KEYS.items()
    },
}
"""Option name → the dotted settings it sets; the profile and the project root choose files instead."""


def _init_keys(key: str) -> Callable[[str], tuple[str, ...]]:
    return lambda stage: (f"stages.{stage}.{key}",)


def _target_keys(stage: str) -> tuple[str, ...]:
    return (f"profile.stages.{stage}.target_updates", f"stages.{stage}.n_updates")


STAGE_OPTIONS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "target_updates": _target_keys,
    **{name: _init_keys(key) for name, key in INIT_KEYS.items()},
    "keep_checkpoints": _init_keys("keep_checkpoints"),
}
"""General options that apply to each trained stage: name → (stage → the dotted settings it sets)."""


def option_flag(name: str) -> str:
    """``max_mse`` → ``--max-mse``."""
    return "--" + name.replace("_", "-")
