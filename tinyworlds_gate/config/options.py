"""Settings of the loop itself, which only command-line options set (docs/options.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tinyworlds_gate.config.schema import PositiveFloat, PositiveInt, Schema, StageName


class LoopOptions(Schema):
    """Settings of the loop that are in no settings file."""

    train_stage: Literal["all", "none"] | StageName = "all"
    """H1: the whole pipeline by default."""
    checkpoint_policy: Literal["fresh", "latest"] = "fresh"
    """H2: new weights by default."""
    align_backbone: Literal["strict", "inject", "report"] = "strict"
    """C2 on a checkout: refuse backbones that differ, give all stages one, or train each stage with its own."""
    video_checkpoint: str | None = None
    latent_checkpoint: str | None = None
    dynamics_checkpoint: str | None = None
    nnodes: PositiveInt = 1
    """Machines that train together."""
    cleanup_extra_processes: bool = True
    enforce_dual_gpu_check: bool = True
    monitor_interval_sec: PositiveFloat = 5.0
    gpu_util_threshold: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    gpu_required_samples: PositiveInt = 2
    enable_wandb_analysis: bool = True
    wandb_source: Literal["api_first", "api_only", "local_only"] = "api_first"
    history_audit_year: Annotated[int, Field(ge=1970, le=9999)] = 2025
    history_audit_mode: Literal["strict", "wide", "current_paths"] = "strict"
