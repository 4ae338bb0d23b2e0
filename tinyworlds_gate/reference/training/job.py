"""What one stage process was asked to do: its stage's name and its resolved settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.schema import SHARED_KEYS, StageConfig, TrainingConfig


@dataclass(frozen=True)
class StageJob:
    """A stage with the settings that its files and its command line resolved to."""

    name: str
    training: TrainingConfig
    stage: StageConfig

    def model_sizes(self) -> dict[str, int]:
        """The keyword arguments of ``ModelSizes``."""
        return {key: getattr(self.training, key) for key in SHARED_KEYS}

    def flat(self) -> dict[str, Any]:
        """All settings as plain data for the checkpoint's ``config``; the stage's keys beside the shared ones."""
        return {"stage": self.name, **self.training.model_dump(), **self.stage.model_dump()}

    @property
    def resume_path(self) -> Path | None:
        """The checkpoint that this chunk continues from."""
        return Path(self.stage.checkpoint) if self.stage.checkpoint else None
