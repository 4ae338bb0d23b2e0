"""Build the objective of a stage from its settings; for dynamics also load the two frozen models it is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.config.schema import DynamicsConfig, LatentActionsConfig, StageConfig, VideoTokenizerConfig
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.model_options import model_options
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.objectives import (
    DynamicsObjective,
    LatentActionsObjective,
    Objective,
    TokenizerObjective,
)


def recorded_options(stage: str, path: Path) -> dict[str, Any]:
    """Return the constructor options that a checkpoint's config records for its model."""
    config = read_state(path).get("config")
    return model_options(stage, config if isinstance(config, Mapping) else {})


def load_frozen(model: nn.Module, path: Path, setting: str) -> nn.Module:
    """Load a stage's checkpoint into ``model`` and freeze it.

    Raises:
        TrainingError: the tensors do not fit the sizes in the configuration; the message names ``setting``.
    """
    state = read_model_state(path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise TrainingError(
            f"{setting}={path}: the checkpoint does not fit the model sizes in the configuration ({first}); "
            "use a checkpoint trained with these sizes, or set the checkpoint's sizes in the configuration"
        ) from error
    return model.eval().requires_grad_(False)


def build_objective(
    stage: str,
    sizes: ModelSizes,
    settings: StageConfig | None = None,
    *,
    tokenizer_path: Path | None = None,
    latent_actions_path: Path | None = None,
) -> Objective:
    """Build the objective of a stage from its settings; without settings, TinyWorlds' objective.

    Raises:
        TrainingError: dynamics without the two checkpoints it is trained on, or checkpoints of other sizes.
    """
    if stage == "video_tokenizer":
        return TokenizerObjective(sizes, settings if isinstance(settings, VideoTokenizerConfig) else None)
    if stage == "latent_actions":
        return LatentActionsObjective(sizes, settings if isinstance(settings, LatentActionsConfig) else None)
    if tokenizer_path is None or latent_actions_path is None:
        raise TrainingError(
            "dynamics is trained on a tokenizer and a latent-action model; set "
            "video_tokenizer_path=<checkpoint folder> and latent_actions_path=<checkpoint folder>"
        )
    tokenizer = VideoTokenizer(sizes, **recorded_options("video_tokenizer", tokenizer_path))
    latent_actions = LatentActionModel(sizes, **recorded_options("latent_actions", latent_actions_path))
    load_frozen(tokenizer, tokenizer_path, "video_tokenizer_path")
    load_frozen(latent_actions, latent_actions_path, "latent_actions_path")
    if isinstance(settings, DynamicsConfig) and settings.masking == "next_frame":
        from tinyworlds_gate.reference.training.next_frame import NextFrameObjective

        return NextFrameObjective(sizes, tokenizer, latent_actions, settings)
    return DynamicsObjective(sizes, tokenizer, latent_actions)
