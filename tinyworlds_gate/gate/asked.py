"""What an inference run is asked to measure: its settings, and three checkpoints that belong together (C4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.agreement import check_agreement
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.gate.condition import Condition
from tinyworlds_gate.names import INVALID, PASS, STAGES


def asked_settings(settings: Settings, draw: int) -> dict[str, Any]:
    """Setting → value, as a measures file must state them (docs/journal.md)."""
    inference, training = settings.inference, settings.training
    horizon = inference.prediction_horizon
    context = inference.context_window or training.context_length - horizon
    return {
        "context": context,
        "generation_steps": inference.generation_steps * horizon,
        "prediction_horizon": horizon,
        "decode_steps": inference.decode_steps,
        "temperature": inference.temperature,
        "teacher_forced": inference.teacher_forced,
        "rollout": inference.rollout,
        "memory_window": inference.memory_window or context,
        "token_choice": inference.token_choice,
        "frame_size": training.frame_size,
        "n_actions": training.n_actions,
        "seed": inference.seed,
        "clip_seed": inference.clip_seed,
        "clip_draw": draw,
    }


def agreement_conditions(checkpoints: Mapping[str, CheckpointRef | Path]) -> tuple[Condition, ...]:
    """One INVALID condition for each disagreement or checkpoint that cannot be read, or one that holds."""
    video, latent, dynamics = (checkpoints[stage] for stage in STAGES)
    try:
        problems = [told for _, holds, told in check_agreement(video, latent, dynamics) if not holds]
    except CheckpointError as error:
        problems = [str(error)]
    if not problems:
        return (Condition("C4", PASS, "the three checkpoints belong together"),)
    return tuple(Condition("C4", INVALID, told) for told in problems)
