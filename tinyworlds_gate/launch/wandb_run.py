"""Assign each chunk its W&B run ID, so that the analysis reads only this run's metrics (L9)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.config.schema import TrainingConfig
from tinyworlds_gate.reference.training.wandb_mode import WandbMode, key_source, wandb_mode


@dataclass(frozen=True)
class WandbRun:
    """The ID, project, entity and mode of a chunk's W&B run, journalled in ``chunk_started``.

    ``entity`` is None for the account's default entity; ``mode`` is the W&B mode (online or offline).
    """

    id: str
    project: str
    entity: str | None
    mode: WandbMode


def wandb_configured(environment: Mapping[str, str], *folders: Path) -> str | None:
    """Return what configures W&B here, as the source of `use_wandb`: a key or an offline folder; None without either.

    What disables W&B (``WANDB_MODE``, ``WANDB_DISABLED``, ``wandb disabled``) turns it off whatever else is set.

    Args:
        folders: as for `wandb_mode`.
    """
    mode = environment.get("WANDB_MODE")
    if wandb_mode(environment, *folders) == "disabled":
        return None
    if (key := key_source(environment)) is not None:
        return f"W&B is configured: a key in {key}"
    if environment.get("WANDB_DIR"):
        return "W&B is configured: WANDB_DIR"
    return f"W&B is configured: WANDB_MODE={mode}" if mode else None


def plan_wandb_run(training: TrainingConfig, environment: Mapping[str, str], *folders: Path) -> WandbRun | None:
    """Return a W&B run with a new ID for the next chunk; None if nothing is logged to W&B."""
    mode = wandb_mode(environment, *folders)
    if not training.use_wandb or mode == "disabled":
        return None
    return WandbRun(uuid.uuid4().hex[:12], training.wandb_project, environment.get("WANDB_ENTITY") or None, mode)


def with_wandb_run(environment: Mapping[str, str], run: WandbRun | None) -> dict[str, str]:
    """Return a chunk's environment with the ID and mode of its W&B run; an inherited ``WANDB_RESUME`` is removed.

    ``WANDB_MODE`` is always set to the journalled mode: wandb refuses an empty value, which means "not set" here.
    """
    if run is None:
        return dict(environment)
    inherited = {name: value for name, value in environment.items() if name != "WANDB_RESUME"}
    return inherited | {"WANDB_RUN_ID": run.id, "WANDB_MODE": run.mode}
