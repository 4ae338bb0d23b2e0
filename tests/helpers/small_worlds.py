"""Small untrained world models, frames to feed them, and where the conformance files lie."""

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
    """The small sizes with some of them changed."""
    return replace(SMALL, **changes)


def frames(batch: int = 2, length: int = 4, side: int = SMALL.frame_size, seed: int = 0) -> Tensor:
    """Random frames in [-1, 1]."""
    return torch.rand(batch, length, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def liven(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draws every parameter at a size where each layer matters; at their start FiLM and mask tokens do nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def world_models(seed: int = 0) -> WorldModels:
    """Three untrained models in evaluation mode whose every layer matters."""
    models = WorldModels(VideoTokenizer(SMALL), LatentActionModel(SMALL), DynamicsModel(SMALL))
    for model in (models.tokenizer, models.latent_actions, models.dynamics):
        liven(model, seed)
    return models.eval()
