"""What a run was set to and what machine it had, read from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings.base import Events, MissingFactError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import last_event

RETRY = "profile.retry."
TRACKED = ("batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval")
"""The parameters of a chunk that a retune may change."""


def setting(events: Events, key: str) -> tuple[Any, str]:
    """Return (value, source) of a resolved setting, by its dotted key (``training.nproc_per_node``).

    Raises:
        MissingFactError: the journal does not record it.
    """
    entry = settings_table(events).get(key)
    if not isinstance(entry, Mapping) or "value" not in entry:
        raise MissingFactError(f"the setting {key}")
    return entry["value"], str(entry.get("source"))


def settings_table(events: Events) -> Mapping[str, Any]:
    """Return dotted key → {value, source}; empty in a run that stopped before its settings were journalled."""
    return (last_event(list(events), "settings_resolved") or {}).get("settings") or {}


def stage_gate_thresholds(events: Events) -> Mapping[str, Mapping[str, Any]]:
    """Return stage → thresholds of the profile.

    Raises:
        MissingFactError: the journal does not record them.
    """
    gates = ((last_event(list(events), "settings_resolved") or {}).get("thresholds") or {}).get("stage_gates")
    if gates is None:
        raise MissingFactError("the thresholds of the stage gates")
    return dict(gates)


def retry_plan(events: Events) -> RetryPlanConfig:
    """Return the profile's plan for retraining dynamics (T5)."""
    return RetryPlanConfig(**{name: setting(events, RETRY + name)[0] for name in RetryPlanConfig.model_fields})


def max_mse(events: Events) -> float:
    """Return the limit of the rollout error (G5)."""
    return float(setting(events, "profile.thresholds.max_mse")[0])


def nproc(events: Events) -> tuple[int, bool]:
    """Return the worker processes of a launcher, and whether a person set their number by option."""
    value, source = setting(events, "training.nproc_per_node")
    return int(value), "option" in source


def gpus_used(events: Events) -> int:
    """Return how many workers could have their own GPU; 0 when the stages trained on the CPU.

    Of MIG slices a launch uses one.

    Raises:
        MissingFactError: the journal has no inventory of the machine.
    """
    machine = (last_event(list(events), "run_started") or {}).get("machine") or {}
    if machine.get("gpus") is None:
        raise MissingFactError("the machine's GPUs")
    whole = sum(not gpu.get("mig") for gpu in machine["gpus"])
    on_cpu = (settings_table(events).get("training.device") or {}).get("value") == "cpu"
    return 0 if on_cpu else whole or min(1, len(machine["gpus"]))


def resuming_stages(described: Mapping[str, Any] | None) -> Sequence[str]:
    """Return the stages that continue a checkpoint (``target_described``; None: the embedded reference)."""
    if described is None:
        return STAGES
    stages: Sequence[str] = described.get("resuming", STAGES if described["can"]["resumes"] else ())
    return stages


def options(events: Events) -> Mapping[str, Any]:
    """Return the options that a person gave, name → value."""
    return dict((events[0].get("options") if events else None) or {})
