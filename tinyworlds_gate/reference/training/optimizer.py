"""AdamW as TinyWorlds sets it (tinyworlds.md §1, Optimiser), in a state that any device can continue from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BETA2 = 0.999


def build_optimizer(
    model: nn.Module, learning_rate: float, *, graphed: bool, beta2: float = BETA2
) -> torch.optim.AdamW:
    """AdamW over the model's parameters; ``graphed`` keeps rate and step counters on the GPU, for CUDA graphs."""
    groups = parameter_groups(model, weight_decay=WEIGHT_DECAY)
    betas, eps = (0.9, beta2), 1e-8
    if not graphed:
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=eps)
    rate = torch.tensor(learning_rate, device=next(model.parameters()).device)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=True, capturable=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all groups, in place where it lies on a GPU."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def portable_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state as a checkpoint holds it: nothing in it says which way the updates were computed."""
    state = optimizer.state_dict()
    groups = [
        {**group, "lr": float(group["lr"]), "fused": None, "capturable": False} for group in state["param_groups"]
    ]
    return {**state, "param_groups": groups}


def load_portable_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue from a checkpoint's state, with this optimizer's own way of computing updates.

    Raises ValueError when the state is that of other parameters.
    """
    own = [{name: group[name] for name in ("lr", "betas", "fused", "capturable")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)
        for parameter in group["params"]:
            entry = optimizer.state.get(parameter, {})
            if "step" in entry:
                device = parameter.device if kept["capturable"] else "cpu"
                entry["step"] = torch.as_tensor(entry["step"], dtype=torch.float32).to(device)


# Which parameters AdamW decays.

WEIGHT_DECAY = 0.01


def parameter_groups(model: nn.Module, weight_decay: float = WEIGHT_DECAY) -> list[dict[str, Any]]:
    """Splits a model's parameters into a decayed and an undecayed group for `torch.optim.AdamW`.

    Decayed are tensors of two or more axes, except those inside a sub-layer's norm (FiLM); biases and gains are
    not (tinyworlds.md §1, Optimiser). Frozen parameters are left out.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside_norm = "norm" in name.split(".")
            (decayed if parameter.dim() >= 2 and not inside_norm else undecayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
