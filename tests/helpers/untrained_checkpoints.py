"""Three checkpoints of untrained models, as a stage would write them: for whatever does not depend on the weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tests.helpers.checkpoint_files import optimizer_state
from tinyworlds_gate.checkpoints import write_checkpoint
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

MODELS = dict(zip(STAGES, (VideoTokenizer, LatentActionModel, DynamicsModel), strict=True))


def write_untrained(root: Path, sizes: ModelSizes, manifest: dict[str, Any] | None = None) -> dict[str, Path]:
    """Stage → checkpoint folder; ``manifest`` is what each records of its training."""
    torch.manual_seed(0)
    return {
        stage: write_checkpoint(
            root / stage / "checkpoints",
            stage,
            0,
            model_state=model(sizes).state_dict(),
            optim_state=optimizer_state(),
            state={"config": asdict(sizes), "timestamp": "2026_01_02_03_04_05"},
            manifest=manifest,
        ).path
        for stage, model in MODELS.items()
    }
