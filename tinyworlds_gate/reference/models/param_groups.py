"""Which parameters AdamW decays."""

from __future__ import annotations

from typing import Any

from torch import nn

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
