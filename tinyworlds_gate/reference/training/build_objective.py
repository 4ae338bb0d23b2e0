"""Build the objective of a stage from its settings, with the frozen models that dynamics is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.config.schema import DynamicsConfig, LatentActionsConfig, StageConfig, VideoTokenizerConfig
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.model_options import manner_of
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.objectives import (
    DynamicsObjective,
    LatentActionsObjective,
    Objective,
    TokenizerObjective,
)


def frozen_manner(stage: str, path: Path) -> dict[str, Any]:
    """How the model of this checkpoint reads clips."""
    config = read_state(path).get("config")
    return manner_of(stage, config if isinstance(config, Mapping) else {})


def load_frozen(model: nn.Module, path: Path, setting: str) -> nn.Module:
    """Load a stage's checkpoint into ``model`` and freeze it.

    Raises:
        TrainingError: the tensors do not fit the sizes in the configuration.
    """
    state = read_model_state(path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise TrainingError(
            f"{setting}={path}: the checkpoint does not fit the model sizes in the configuration ({first}); "
            "use a checkpoint that was trained with these sizes, or set the sizes of the checkpoint"
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
    """The objective of a stage, as its settings ask (TinyWorlds' without any); dynamics needs the two checkpoints that
    it is trained on.

    Raises:
        TrainingError: dynamics without its checkpoints, or checkpoints of other sizes.
    """
    if stage == "video_tokenizer":
        return TokenizerObjective(sizes, settings if isinstance(settings, VideoTokenizerConfig) else None)
    if stage == "latent_actions":
        return LatentActionsObjective(sizes, settings if isinstance(settings, LatentActionsConfig) else None)
    if tokenizer_path is None or latent_actions_path is None:
        raise TrainingError(
            "dynamics is trained on a tokenizer and a latent-action model: give "
            "video_tokenizer_path=<checkpoint folder> and latent_actions_path=<checkpoint folder>"
        )
    tokenizer = VideoTokenizer(sizes, **frozen_manner("video_tokenizer", tokenizer_path))
    latent_actions = LatentActionModel(sizes, **frozen_manner("latent_actions", latent_actions_path))
    load_frozen(tokenizer, tokenizer_path, "video_tokenizer_path")
    load_frozen(latent_actions, latent_actions_path, "latent_actions_path")
    if isinstance(settings, DynamicsConfig) and settings.masking == "next_frame":
        from tinyworlds_gate.reference.training.next_frame import NextFrameObjective

        return NextFrameObjective(sizes, tokenizer, latent_actions, settings)
    return DynamicsObjective(sizes, tokenizer, latent_actions)
