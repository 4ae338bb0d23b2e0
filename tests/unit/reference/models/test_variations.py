"""Variations of the transformer, held to numbers recorded from the checkouts that have them.

tests/data/variations holds the weights, inputs and logits of two small dynamics models: ``experts`` of
AlmondGod/tinyworlds a99f3a8 with use_moe, ``qk_norm`` of qtris123/tinyworlds a4c335e.

pytest tests/unit/reference/models/test_variations.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.checkpoints.describe import sizes_of_weights
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.blocks import SwiGLU, fuse_projections
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.variations import Experts, Variation, variation_of, vary
from tinyworlds_gate.reference.rollout.world_models import load_weights

RECORDED = REPOSITORY / "tests/data/variations"
SIZES = ModelSizes(
    frame_size=16,
    patch_size=8,
    embed_dim=16,
    num_heads=2,
    hidden_dim=24,
    num_blocks=2,
    latent_dim=3,
    num_bins=2,
    n_actions=4,
    context_length=4,
)
CONFIG = {"top_k_experts": 2}
VARIATIONS = {"experts": Variation(experts=3, experts_per_token=2), "qk_norm": Variation(qk_norm=True)}


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def recorded(name: str) -> dict[str, Tensor]:
    with np.load(Path(RECORDED / f"{name}.npz")) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def weights_of(values: dict[str, Tensor]) -> dict[str, Tensor]:
    names = DynamicsModel(SIZES).state_dict().keys()
    own = {key.removeprefix("weights."): one for key, one in values.items() if key.startswith("weights.")}
    return {
        key: one for key, one in own.items() if key in names or "expert" in key or "router" in key or "_norm" in key
    }


def model_of(values: dict[str, Tensor]) -> DynamicsModel:
    model = DynamicsModel(SIZES)
    load_weights(model, weights_of(values), "dynamics", CONFIG)
    return model.eval()


@pytest.mark.parametrize("name", VARIATIONS)
@torch.no_grad()
def test_a_variation_computes_what_the_checkout_computes(name: str) -> None:
    values = recorded(name)
    model = model_of(values)
    assert_close(model(values["latents"], values["actions"]), values["logits"])
    with fuse_projections(model, torch.float32):
        assert_close(model(values["latents"], values["actions"]), values["logits"])


@pytest.mark.parametrize("name", VARIATIONS)
@torch.no_grad()
def test_a_variation_keeps_its_keys_in_the_cache_of_a_rollout(name: str) -> None:
    values = recorded(name)
    model, latents, actions = model_of(values), values["latents"], values["actions"]
    _, cache = model.extend(latents[:, :3], actions[:, :2])
    last, _ = model.extend(latents[:, 3:], actions[:, 2:], kv_cache=cache)
    assert_close(last[:, 0], values["logits"][:, 3])


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_shows_in_the_names_of_the_tensors(name: str) -> None:
    weights = weights_of(recorded(name))
    assert variation_of(weights, CONFIG) == VARIATIONS[name]
    sizes = sizes_of_weights("dynamics", weights)
    assert {key: sizes[key][0] for key in ("hidden_dim", "embed_dim", "num_blocks")} == {
        "hidden_dim": 24,
        "embed_dim": 16,
        "num_blocks": 2,
    }


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_trains(name: str) -> None:
    values = recorded(name)
    model = model_of(values).train()
    model(values["latents"], values["actions"]).square().mean().backward()
    grown = {key for key, one in model.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
    assert {key for key in weights_of(values) if "_norm.weight" in key or "router" in key} <= grown


def test_plain_weights_leave_the_model_as_it_is() -> None:
    model = DynamicsModel(SIZES)
    assert variation_of(model.state_dict(), CONFIG) == Variation()
    before = model.state_dict().keys()
    vary(model, Variation())
    assert model.state_dict().keys() == before
    assert all(isinstance(block.ffn, SwiGLU) for block in model.transformer.blocks)


def test_experts_without_the_number_that_a_token_uses_are_refused_by_name() -> None:
    weights = weights_of(recorded("experts"))
    for config in ({}, {"top_k_experts": 4}, {"top_k_experts": True}, {"top_k_experts": "2"}):
        with pytest.raises(CheckpointError, match=r"has 3 experts, .*top_k_experts: .*an integer from 1 to 3"):
            variation_of(weights, config)


def test_a_token_uses_the_experts_with_the_largest_logits() -> None:
    layer = Experts(4, 8, None, Variation(experts=3, experts_per_token=1))
    layer.router.weight.data.zero_()
    layer.router.weight.data[1, 0] = 1.0
    token = torch.tensor([[[[2.0, 0.5, -1.0, 0.0]]]])
    torch.testing.assert_close(layer(token), layer.norm(token + layer.experts[1](token)))
