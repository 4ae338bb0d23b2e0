"""Load the three trained models of a world; all sizes are read from their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.model_options import model_options
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.variations import variation_of, vary
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

SIZE_KEYS = tuple(ModelSizes.__dataclass_fields__)
SHOWN_NAMES = 3  # tensor names per kind of mismatch in an error


@dataclass(frozen=True)
class WorldModels:
    """Tokenizer, latent-action model and dynamics model of one world."""

    tokenizer: VideoTokenizer
    latent_actions: LatentActionModel
    dynamics: DynamicsModel

    def eval(self) -> WorldModels:
        """Set all three to evaluation mode."""
        for model in (self.tokenizer, self.latent_actions, self.dynamics):
            model.eval()
        return self

    def to(self, device: torch.device | str) -> WorldModels:
        """Move all three to a device."""
        for model in (self.tokenizer, self.latent_actions, self.dynamics):
            model.to(device)
        return self


def load_weights(model: nn.Module, state: Mapping[str, Tensor], stage: str, config: Mapping[str, object] = {}) -> None:
    """Load a stage's tensors by name, after changing the model to the variation that they show (`variations`).

    ``config``: the one that the checkpoint records. Raises CheckpointError before loading any when a tensor is missing,
    unknown or of another shape.
    """
    vary(model, variation_of(state, config))
    own = model.state_dict()
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{name} {list(state[name].shape)} instead of {list(own[name].shape)}"
            for name in sorted(own.keys() & state.keys())
            if state[name].shape != own[name].shape
        ],
    }
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:SHOWN_NAMES])}{', …' if len(names) > SHOWN_NAMES else ''})"
        for kind, names in faults.items()
        if names
    ]
    if problems:
        raise CheckpointError(
            f"The weights of {stage} do not fit the model's sizes: tensors {'; '.join(problems)}. "
            "Use the sizes that the checkpoint was trained with."
        )
    model.load_state_dict(dict(state))


def load_world_models(
    sizes_per_stage: Mapping[str, ModelSizes],
    state_dicts: Mapping[str, Mapping[str, Tensor]],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> WorldModels:
    """Build the three models from their sizes and tensors, in evaluation mode on the CPU.

    All mappings have the keys video_tokenizer, latent_actions and dynamics. ``options`` holds the results of
    `model_options`; default: TinyWorlds' options. ``configs``: those that the checkpoints record. Raises
    CheckpointError when tensors do not fit the sizes, or the models do not fit one another (C4).
    """
    tokenizer_sizes, action_sizes, dynamics_sizes = (
        sizes_per_stage[stage] for stage in ("video_tokenizer", "latent_actions", "dynamics")
    )
    for name, other, pairs in (
        ("latent_actions", action_sizes, ("n_actions",)),
        ("video_tokenizer", tokenizer_sizes, ("frame_size", "patch_size", "latent_dim", "num_bins")),
    ):
        for key in pairs:
            if getattr(other, key) != getattr(dynamics_sizes, key):
                raise CheckpointError(
                    f"{key} is {getattr(dynamics_sizes, key)} in the dynamics checkpoint and {getattr(other, key)} in "
                    f"the {name} checkpoint; use checkpoints of the same run."
                )
    if action_sizes.frame_size != tokenizer_sizes.frame_size:
        raise CheckpointError(
            f"frame_size is {tokenizer_sizes.frame_size} in the video_tokenizer checkpoint and "
            f"{action_sizes.frame_size} in the latent_actions checkpoint; use checkpoints of the same run."
        )
    options = options or {stage: {} for stage in state_dicts}
    models = WorldModels(
        VideoTokenizer(tokenizer_sizes, **options["video_tokenizer"]),
        LatentActionModel(action_sizes, **options["latent_actions"]),
        DynamicsModel(dynamics_sizes),
    )
    built = {"video_tokenizer": models.tokenizer, "latent_actions": models.latent_actions, "dynamics": models.dynamics}
    for stage, model in built.items():
        load_weights(model, state_dicts[stage], stage, (configs or {}).get(stage, {}))
    return models.eval()


@dataclass(frozen=True)
class TrainedModels:
    """The models with the references, sizes and recorded configs of their checkpoints, by stage."""

    models: WorldModels
    references: Mapping[str, CheckpointRef]
    sizes: Mapping[str, ModelSizes]
    configs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class TrainedTokenizer:
    """A video tokenizer alone, with the reference, sizes and recorded config of its checkpoint by stage."""

    tokenizer: VideoTokenizer
    references: Mapping[str, CheckpointRef]
    sizes: Mapping[str, ModelSizes]
    configs: Mapping[str, Mapping[str, Any]]


def load_trained(paths: Mapping[str, Path]) -> TrainedModels:
    """Verify and load the checkpoints of the three stages.

    Raises:
        CheckpointError: a checkpoint is damaged, or none records a size that is needed.
    """
    references, sizes = _verified(paths)
    states = {stage: read_model_state(reference.path) for stage, reference in references.items()}
    configs = {stage: _recorded_config(reference.path) for stage, reference in references.items()}
    options = {stage: model_options(stage, config) for stage, config in configs.items()}
    return TrainedModels(load_world_models(sizes, states, options, configs), references, sizes, configs)


def load_tokenizer(path: Path, others: Mapping[str, Path]) -> TrainedTokenizer:
    """Verify and load a video tokenizer, in evaluation mode on the CPU.

    ``others``: checkpoints of other stages, which are only read for sizes that the tokenizer's config lacks.

    Raises:
        CheckpointError: a checkpoint is damaged, or none records a size that is needed.
    """
    stage = "video_tokenizer"
    references, sizes = _verified({**others, stage: path})
    config = _recorded_config(references[stage].path)
    tokenizer = VideoTokenizer(sizes[stage], **model_options(stage, config))
    load_weights(tokenizer, read_model_state(references[stage].path), stage, config)
    return TrainedTokenizer(tokenizer.eval(), {stage: references[stage]}, {stage: sizes[stage]}, {stage: config})


def _verified(paths: Mapping[str, Path]) -> tuple[dict[str, CheckpointRef], dict[str, ModelSizes]]:
    references = {
        stage: verify_checkpoint(path, expected_stage=stage, require_optimizer=False) for stage, path in paths.items()
    }
    described = {stage: describe_checkpoint(reference) for stage, reference in references.items()}
    # A tokenizer's config lacks n_actions, a latent-action model's lacks the codebook: take it from another checkpoint.
    sizes: dict[str, ModelSizes] = {}
    for stage in paths:
        values: dict[str, int] = {}
        for key in SIZE_KEYS:
            found = (getattr(one, key, None) for one in (described[stage], *described.values()))
            value = next((one for one in found if one is not None), None)
            if value is None:
                raise CheckpointError(
                    f"{paths[stage]}: no checkpoint records {key} (state.pt has no config with it); "
                    "use checkpoints whose state.pt holds their config"
                )
            values[key] = value
        sizes[stage] = ModelSizes(**values)
    return references, sizes


def _recorded_config(path: Path) -> Mapping[str, Any]:
    config = read_state(path).get("config")
    return config if isinstance(config, Mapping) else {}
