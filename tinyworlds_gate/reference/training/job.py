"""The job of a stage process: the name of its stage and the resolved settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.schema import StageConfig, TrainingConfig
from tinyworlds_gate.names import SHARED_KEYS


@dataclass(frozen=True)
class StageJob:
    """A stage and its settings, resolved from the config files and the command line."""

    name: str
    training: TrainingConfig
    stage: StageConfig

    def model_sizes(self) -> dict[str, int]:
        """Return the keyword arguments of ``ModelSizes``."""
        return {key: getattr(self.training, key) for key in SHARED_KEYS}

    def flat(self) -> dict[str, Any]:
        """Return all settings, shared and of the stage, as one flat mapping for the checkpoint's ``config``."""
        return {"stage": self.name, **self.training.model_dump(), **self.stage.model_dump()}

    @property
    def resume_path(self) -> Path | None:
        """The checkpoint that this chunk resumes from, or None."""
        return Path(self.stage.checkpoint) if self.stage.checkpoint else None
