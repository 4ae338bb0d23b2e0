"""The parameters of the shipped profiles, as P3 and P4 specify them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.profile_files import BASELINE
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES

LONGRUN = "longrun"
SPECIFIED = (BASELINE, LONGRUN)
KEYS = ("batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval")


def shipped_values(project_root: Path) -> dict[str, dict[str, Any]]:
    """Return profile → {`stages`: stage → parameter → value}, or {`problem`: sentence} where it cannot be read."""
    return {name: _values(name, project_root) for name in SPECIFIED}


def _values(name: str, project_root: Path) -> dict[str, Any]:
    try:
        settings = resolve_settings(name, {}, project_root=project_root)
    except ConfigError as error:
        return {"problem": str(error)}
    return {
        "stages": {
            stage: {key: getattr(settings.stages[stage], key) for key in KEYS}
            | {"target_updates": settings.plan(stage).target_updates, "chunk": settings.plan(stage).chunk}
            for stage in STAGES
        }
    }
