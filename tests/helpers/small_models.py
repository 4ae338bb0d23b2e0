"""Small untrained world models, frames for them, and the folder of the conformance files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout.world_models import WorldModels

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
GOLDEN_FILES = sorted(GOLDEN.glob("*.safetensors"))
SMALL = ModelSizes(
    frame_size=16,
    patch_size=4,
    embed_dim=24,
    num_heads=2,
    hidden_dim=32,
    num_blocks=2,
    latent_dim=3,
    num_bins=4,
    n_actions=4,
    context_length=4,
)


def sizes(**changes: int) -> ModelSizes:
    """Return the small sizes with some changes."""
    return replace(SMALL, **changes)


def frames(batch: int = 2, length: int = 4, side: int = SMALL.frame_size, seed: int = 0) -> Tensor:
    """Return random frames in [-1, 1]."""
    return torch.rand(batch, length, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter so that each layer matters; initially FiLM and mask tokens have no effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def world_models(seed: int = 0) -> WorldModels:
    """Return three untrained models in evaluation mode in which every layer matters."""
    models = WorldModels(VideoTokenizer(SMALL), LatentActionModel(SMALL), DynamicsModel(SMALL))
    for model in (models.tokenizer, models.latent_actions, models.dynamics):
        randomize(model, seed)
    return models.eval()
