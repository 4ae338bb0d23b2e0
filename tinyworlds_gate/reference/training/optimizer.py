"""AdamW with TinyWorlds' settings (docs/architecture.md) and a checkpoint state that loads on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BETA2 = 0.999
WEIGHT_DECAY = 0.01


def build_optimizer(
    model: nn.Module, learning_rate: float, *, graphed: bool, beta2: float = BETA2
) -> torch.optim.AdamW:
    """Build AdamW for a model; ``graphed`` keeps learning rate and step counts on the GPU, for CUDA graphs."""
    groups = parameter_groups(model, weight_decay=WEIGHT_DECAY)
    betas, eps = (0.9, beta2), 1e-8
    if not graphed:
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=eps)
    rate = torch.tensor(learning_rate, device=next(model.parameters()).device)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=True, capturable=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups; a tensor is filled in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def portable_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state for a checkpoint, independent of how updates are computed (fused, captured)."""
    state = optimizer.state_dict()
    groups = [
        {**group, "lr": float(group["lr"]), "fused": None, "capturable": False} for group in state["param_groups"]
    ]
    return {**state, "param_groups": groups}


def load_portable_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of a checkpoint, but keep this optimizer's learning rate, betas and way of computing updates.

    Raises ValueError when the state belongs to other parameters.
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


def parameter_groups(model: nn.Module, weight_decay: float = WEIGHT_DECAY) -> list[dict[str, Any]]:
    """Split a model's trainable parameters into a decayed and an undecayed group for `torch.optim.AdamW`.

    Weight decay applies to tensors of two or more axes, except those inside a norm (FiLM)
    (docs/architecture.md).
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside_norm = "norm" in name.split(".")
            (decayed if parameter.dim() >= 2 and not inside_norm else undecayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
