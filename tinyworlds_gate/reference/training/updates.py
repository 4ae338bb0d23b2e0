"""One update of a stage: accumulate gradients over micro-batches and ranks, clip them, take an AdamW step.

`EagerUpdates` runs eagerly, on a CPU or with `cuda_graphs: false`; `graphed_updates.py` replays the same update as CUDA
graphs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from tinyworlds_gate.config.schema import StageConfig
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.objectives import Objective
from tinyworlds_gate.reference.training.optimizer import set_learning_rate

LOSS = "train/loss"


class StartedUpdate(Protocol):
    """An update that was started; on a GPU it may still run."""

    @property
    def own_loss(self) -> float:
        """This rank's loss, before the mean over the ranks; valid after ``wait``."""

    def wait(self) -> Mapping[str, float]:
        """Wait for it and return its metrics, the loss under ``LOSS``."""


class Updates(Protocol):
    """Takes updates; up to ``ahead`` further ones may be started before the oldest is waited for."""

    ahead: int

    def take(self, rate: float) -> StartedUpdate:
        """Start the next update at this learning rate."""


class _Done:
    def __init__(self, metrics: Mapping[str, float], own_loss: Tensor) -> None:
        self._metrics, self._own_loss = metrics, own_loss

    @property
    def own_loss(self) -> float:
        return float(self._own_loss)

    def wait(self) -> Mapping[str, float]:
        return self._metrics


class EagerUpdates:
    """Updates that are complete when ``take`` returns."""

    ahead = 0

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        batches: BatchSource,
        stage: StageConfig,
        worker: Worker,
        *,
        autocast: bool,
        sharded: bool = False,
    ) -> None:
        """``sharded``: FSDP averages the gradients, so DDP does not wrap the model (`sharding.py`)."""
        self.objective, self.optimizer, self.batches = objective, optimizer, batches
        self.stage, self.worker, self.autocast = stage, worker, autocast
        self.step_module: torch.nn.Module = objective
        if worker.world_size > 1 and not sharded:
            ids = [worker.device.index] if worker.device.type == "cuda" else None
            self.step_module = DistributedDataParallel(objective, device_ids=ids)

    def take(self, rate: float) -> StartedUpdate:
        set_learning_rate(self.optimizer, rate)
        self.step_module.train()
        accumulation = self.stage.gradient_accumulation_steps
        loss_sum = torch.zeros((), device=self.worker.device)
        codes: list[Tensor] = []
        for micro in range(accumulation):
            inputs = self.objective.prepare(self.batches.next_batch())
            last = micro == accumulation - 1
            no_sync = not last and isinstance(self.step_module, DistributedDataParallel)
            with self.step_module.no_sync() if no_sync else contextlib.nullcontext():  # type: ignore[operator]
                with torch.autocast(self.worker.device.type, torch.bfloat16, enabled=self.autocast):
                    loss, step_codes = self.step_module(*inputs)
                (loss / accumulation).backward()
            loss_sum += loss.detach()
            codes.append(step_codes.detach())
        torch.nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.stage.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        numbers = self.objective.metrics(torch.cat(codes)).tolist()
        metrics = dict(zip(self.objective.metric_names, numbers, strict=True))
        own_loss = loss_sum / accumulation
        return _Done({LOSS: float(self.worker.mean(own_loss)), **metrics}, own_loss)
