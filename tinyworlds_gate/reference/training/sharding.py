"""FSDP2 (`distributed.use_fsdp=true`): each rank holds a shard of weights, gradients and optimizer moments.

Weights are gathered block by block when needed. Checkpoints are the same as without sharding: full tensors with
TinyWorlds' names, written by rank 0, so any number of ranks can resume from them, sharded or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tinyworlds_gate.config.schema import DistributedConfig
from tinyworlds_gate.reference.models.blocks import SpaceTimeBlock
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.optimizer import build_optimizer


def shard_model(model: nn.Module, worker: Worker, settings: DistributedConfig) -> None:
    """Shard a model over all ranks: each space-time block separately, the rest as one unit; names do not change.

    The model may be in host memory: each block moves to the device when it is sharded, so the full model never has to
    fit there. The weights must be equal on all ranks.
    """
    mesh = init_device_mesh(worker.device.type, (worker.world_size,))
    precision = MixedPrecisionPolicy()
    if settings.fsdp_mixed_precision:
        precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for module in model.modules():
        if isinstance(module, SpaceTimeTransformer):
            module.modulates_in_blocks = True  # a block's FiLM weights are gathered only while the block runs
    for module in list(model.modules()):
        if isinstance(module, SpaceTimeBlock):
            fully_shard(module, mesh=mesh, reshard_after_forward=settings.reshard_after_forward, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    model.to(worker.device)  # buffers


def shard_optimizer(whole: torch.optim.AdamW, model: nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """Build AdamW for a sharded model, with shards of the moments in ``whole``.

    ``whole`` was built for the same model before sharding and holds full moments on every rank.
    """
    beta2 = whole.param_groups[0]["betas"][1]
    sharded = build_optimizer(model, learning_rate, graphed=False, beta2=beta2)
    for old, new in zip(whole.param_groups, sharded.param_groups, strict=True):
        for before, parameter in zip(old["params"], new["params"], strict=True):
            if entry := whole.state.get(before):
                sharded.state[parameter] = {name: _share(value, parameter) for name, value in entry.items()}
    return sharded


def whole_state(state: Any) -> Any:
    """Return the state with every shard replaced by the full tensor in host memory; all ranks must call it."""
    if isinstance(state, DTensor):
        return state.full_tensor().detach().cpu()
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, Mapping):
        return {key: whole_state(value) for key, value in state.items()}
    if isinstance(state, list):
        return [whole_state(value) for value in state]
    return state


def local_weight_count(model: nn.Module) -> int:
    """Return the number of weights in this rank's shard."""
    return sum((one.to_local() if isinstance(one, DTensor) else one).numel() for one in model.parameters())


def reshard(model: nn.Module) -> None:
    """Free the full weights that a forward pass without gradients left gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _share(value: Tensor, parameter: Tensor) -> Tensor:
    assert isinstance(parameter, DTensor)
    if value.dim() == 0:  # the count of updates
        return value.clone()
    whole = value.to(parameter.device_mesh.device_type)
    # Every rank read the same file, so no communication is needed.
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
