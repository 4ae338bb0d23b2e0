"""Save and resume a stage: model, optimizer, schedule, step, random states and the sampler's position."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.reference.training.distributed import Worker, restore_rng, seed_worker
from tinyworlds_gate.reference.training.optimizer import load_portable_state


def training_state(
    *, update: int, schedule: Mapping[str, Any], config: Mapping[str, Any], sampler: Mapping[str, Any], rng: list[Any]
) -> dict[str, Any]:
    """Return the content of ``state.pt`` after ``update`` (0-based), as plain data and tensors."""
    return {
        "scheduler_state_dict": dict(schedule),
        "config": dict(config),
        "step": update,
        "timestamp": time.time(),
        "sampler_state_dict": dict(sampler),
        "rng_by_rank": rng,
    }


def restore_training(
    path: Path, stage: str, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Any, worker: Worker, seed: int
) -> int:
    """Load a checkpoint of ``stage`` and return the next absolute update.

    Without recorded random states or sampler position (checkpoints of TinyWorlds) these start from the seed. The
    learning rate is not restored: it is a function of the update (``schedule.py``).

    Raises:
        CheckpointError: the checkpoint is incomplete or damaged.
        TrainingError: its tensors do not fit the configured sizes.
    """
    reference = verify_checkpoint(path, expected_stage=stage)
    where = str(next(model.parameters()).device)
    try:
        model.load_state_dict(read_model_state(reference.path, map_location=where))
        load_portable_state(optimizer, read_optim_state(reference.path, map_location=where))
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"checkpoint={path}: it does not fit the configured model or optimizer ({_first_lines(error)}); "
            "resume with the sizes it was trained with, or train this stage from scratch"
        ) from error
    state = read_state(reference.path)
    states = state.get("rng_by_rank")
    if states and len(states) == worker.world_size:
        restore_rng(states[worker.rank], worker.device)
    else:
        seed_worker(seed + reference.step + 1, worker.rank)
    if state.get("sampler_state_dict"):
        sampler.load_state_dict(state["sampler_state_dict"])
    return reference.step + 1


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:3])
