"""Three checkpoints of untrained models as the stages write them, for tests that do not depend on the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tests.helpers.checkpoint_files import optimizer_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

MODELS = dict(zip(STAGES, (VideoTokenizer, LatentActionModel, DynamicsModel), strict=True))


def write_untrained(
    root: Path, sizes: ModelSizes | Mapping[str, ModelSizes], manifest: dict[str, Any] | None = None
) -> dict[str, Path]:
    """Write a checkpoint per stage and return stage → folder; ``manifest`` is its record of the training."""
    own = dict.fromkeys(STAGES, sizes) if isinstance(sizes, ModelSizes) else sizes
    torch.manual_seed(0)
    return {
        stage: write_checkpoint(
            root / stage / "checkpoints",
            stage,
            0,
            model_state=model(own[stage]).state_dict(),
            optim_state=optimizer_state(),
            state={"config": asdict(own[stage]), "timestamp": "2026_01_02_03_04_05"},
            manifest=manifest,
        ).path
        for stage, model in MODELS.items()
    }
