"""Three checkpoints as one world model: sizes are read from the checkpoints, never assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.checkpoints.integrity import CheckpointRef, verify_checkpoint
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.manner import manner_of
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.world_models import WorldModels, load_world_models

SIZE_KEYS = tuple(ModelSizes.__dataclass_fields__)


@dataclass(frozen=True)
class TrainedModels:
    """The models with the references, sizes and recorded configs of their checkpoints, by stage."""

    models: WorldModels
    references: Mapping[str, CheckpointRef]
    sizes: Mapping[str, ModelSizes]
    configs: Mapping[str, Mapping[str, Any]]


def load_trained(paths: Mapping[str, Path]) -> TrainedModels:
    """Verify and load the checkpoints of the three stages.

    Raises:
        CheckpointError: one is damaged, or does not tell a size that is needed.
    """
    references = {
        stage: verify_checkpoint(path, expected_stage=stage, require_optimizer=False) for stage, path in paths.items()
    }
    described = {stage: describe_checkpoint(reference) for stage, reference in references.items()}
    # A tokenizer does not know n_actions nor a latent-action model the codebook: what one lacks another tells.
    sizes: dict[str, ModelSizes] = {}
    for stage in paths:
        values: dict[str, int] = {}
        for key in SIZE_KEYS:
            own = getattr(described[stage], key, None)
            others = [v for other in described.values() if (v := getattr(other, key, None)) is not None]
            if own is None and not others:
                raise CheckpointError(
                    f"{paths[stage]}: the checkpoints do not tell {key} (state.pt holds no config that names it); "
                    "score checkpoints whose state.pt holds their config"
                )
            values[key] = own if own is not None else others[0]
        sizes[stage] = ModelSizes(**values)
    states = {stage: read_model_state(reference.path) for stage, reference in references.items()}
    configs = {stage: _recorded_config(reference.path) for stage, reference in references.items()}
    manners = {stage: manner_of(stage, config) for stage, config in configs.items()}
    return TrainedModels(load_world_models(sizes, states, manners), references, sizes, configs)


def _recorded_config(path: Path) -> Mapping[str, Any]:
    config = read_state(path).get("config")
    return config if isinstance(config, Mapping) else {}
