"""The optimizer state in a checkpoint does not depend on how updates were computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tinyworlds_gate.reference.training.optimizer import (
    build_optimizer,
    load_portable_state,
    portable_state,
    set_learning_rate,
)


def model_and_optimizer() -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    return model, build_optimizer(model, 0.1, graphed=False)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_the_saved_state_is_plain_numbers_whatever_computes_the_updates() -> None:
    model, optimizer = model_and_optimizer()
    step(model, optimizer)
    for group in optimizer.param_groups:  # as a captured update has it
        group.update(lr=torch.tensor(0.1), fused=True, capturable=True)
    groups = portable_state(optimizer)["param_groups"]
    assert [(group["lr"], group["fused"], group["capturable"]) for group in groups] == [
        (pytest.approx(0.1), None, False)
    ] * len(groups)


def test_a_loaded_state_keeps_the_optimizers_own_way_and_its_moments() -> None:
    model, optimizer = model_and_optimizer()
    step(model, optimizer)
    state = portable_state(optimizer)
    for group in state["param_groups"]:
        group.update(fused=True, capturable=True, lr=9.0)
    other, fresh = model_and_optimizer()
    load_portable_state(fresh, state)
    assert {group["capturable"] for group in fresh.param_groups} == {False}
    assert {group["lr"] for group in fresh.param_groups} == {0.1}
    for mine, its in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(fresh.state[mine]["exp_avg"], optimizer.state[its]["exp_avg"])
        assert float(fresh.state[mine]["step"]) == 1


def test_a_state_of_other_parameters_is_refused() -> None:
    _, optimizer = model_and_optimizer()
    state = portable_state(build_optimizer(nn.Linear(4, 3, bias=False), 0.1, graphed=False))
    with pytest.raises(ValueError, match="doesn't match the size"):
        load_portable_state(optimizer, state)


def test_the_learning_rate_is_set_in_every_group_and_in_place_where_it_is_a_tensor() -> None:
    _, optimizer = model_and_optimizer()
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    rate = torch.tensor(0.1)
    for group in optimizer.param_groups:
        group["lr"] = rate
    set_learning_rate(optimizer, 0.25)
    assert rate.item() == 0.25
