"""The quantizer: levels, indices and the gradient through the rounding."""

from __future__ import annotations

import pytest
import torch

from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer


@pytest.mark.parametrize(("latent_dim", "num_bins"), [(5, 4), (3, 2), (4, 5), (1, 7)])
def test_every_index_survives_the_round_trip(latent_dim: int, num_bins: int) -> None:
    quantizer = FiniteScalarQuantizer(latent_dim, num_bins)
    indices = torch.arange(num_bins**latent_dim)
    latents = quantizer.latents_from_indices(indices)
    assert torch.equal(quantizer.indices_from_latents(latents), indices)
    assert latents.min() == -1
    assert latents.max() == 1


def test_the_first_latent_is_the_lowest_digit() -> None:
    quantizer = FiniteScalarQuantizer(3, 4)
    assert quantizer.indices_from_latents(torch.tensor([1.0, -1.0, -1.0])) == 3
    assert quantizer.indices_from_latents(torch.tensor([-1.0, -1.0, 1.0])) == 48


@pytest.mark.parametrize("num_bins", [2, 3, 4, 5])
def test_quantising_yields_only_the_levels(num_bins: int) -> None:
    values = FiniteScalarQuantizer(1, num_bins)(torch.linspace(-9, 9, 1001)[:, None])
    levels = torch.linspace(-1, 1, num_bins)
    assert (values - levels).abs().amin(dim=-1).max() < 1e-6
    assert ((values - levels).abs() < 1e-6).any(dim=0).all()


def test_the_gradient_is_that_of_tanh_alone() -> None:
    prequant = torch.tensor([[0.3, -1.2]], requires_grad=True)
    FiniteScalarQuantizer(2, 4)(prequant).sum().backward()
    assert prequant.grad is not None
    assert torch.allclose(prequant.grad, 1 - torch.tanh(prequant.detach()) ** 2)


def test_quantised_values_are_float32_also_for_bfloat16_input() -> None:
    assert FiniteScalarQuantizer(2, 4)(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.float32
