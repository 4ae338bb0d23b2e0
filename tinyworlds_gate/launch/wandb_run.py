"""The W&B run of one chunk: the id that it gets, so that the analysis reads this run's metrics alone (L9)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from tinyworlds_gate.config.schema import TrainingConfig
from tinyworlds_gate.reference.training.history import WandbMode, wandb_mode


@dataclass(frozen=True)
class WandbRun:
    """What ``chunk_started`` journals: the id that the chunk's W&B run is given before it starts, and where it goes.

    ``entity`` is None where the account's default one is meant; ``mode`` is how the metrics left the machine.
    """

    id: str
    project: str
    entity: str | None
    mode: WandbMode


def plan_wandb_run(training: TrainingConfig, environment: Mapping[str, str]) -> WandbRun | None:
    """A W&B run for the next chunk under a new id; None when nothing is logged to W&B."""
    mode = wandb_mode(environment)
    if not training.use_wandb or mode == "disabled":
        return None
    return WandbRun(uuid.uuid4().hex[:12], training.wandb_project, environment.get("WANDB_ENTITY") or None, mode)


def with_wandb_run(environment: Mapping[str, str], run: WandbRun | None) -> dict[str, str]:
    """A chunk's environment with the id and the mode of its W&B run; one that somebody else wanted resumed is not it.

    The mode is told as the journal holds it: wandb refuses a `WANDB_MODE` that is empty, which means "not set" here.
    """
    if run is None:
        return dict(environment)
    kept = {name: value for name, value in environment.items() if name != "WANDB_RESUME"}
    return kept | {"WANDB_RUN_ID": run.id, "WANDB_MODE": run.mode}
