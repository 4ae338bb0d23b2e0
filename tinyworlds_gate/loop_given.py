"""What a checkpoint that a person named as a start says of its training (P1: it stands above the profile)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.load import trained_stages
from tinyworlds_gate.config.names import SHORT_NAMES


def resumed_values(explicit: Mapping[str, Any], project_root: Path) -> dict[str, Any]:
    """Dotted setting → value, read from the `--*-checkpoint` starts of the stages that will be trained.

    Only the peak learning rate of the schedule is a setting that a checkpoint's state carries; optimizer, step and
    random states are restored by the stage itself. Explicit options stand above it, the profile below.

    Raises:
        CheckpointError: a named checkpoint is missing or damaged.
    """
    trained = trained_stages(str(explicit.get("train_stage", "all")))
    values: dict[str, Any] = {}
    for short, stage in SHORT_NAMES.items():
        given = explicit.get(f"{short}_checkpoint")
        if given is None or stage not in trained:
            continue
        from tinyworlds_gate.checkpoints.read import read_state
        from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint

        reference = resolve_checkpoint(project_root / str(given), stage)
        rate = peak_rate(read_state(reference.path).get("scheduler_state_dict"))
        if rate is not None:
            values[f"stages.{stage}.learning_rate"] = rate
    return values


def peak_rate(scheduler_state: object) -> float | None:
    """The peak learning rate of a scheduler's state: ours calls it ``peak``, PyTorch's schedulers ``base_lrs``."""
    if not isinstance(scheduler_state, Mapping):
        return None
    rates = scheduler_state.get("base_lrs")
    found = scheduler_state.get("peak", rates[0] if isinstance(rates, list) and rates else None)
    return float(found) if isinstance(found, int | float) and 0 < found <= 1 else None
