"""Process group, device and random state of a worker: NCCL on CUDA, gloo on CPU, no group for a single process."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist

from tinyworlds_gate.errors import TrainingError


@dataclass(frozen=True)
class Worker:
    """One training process: its rank, the number of ranks, and its device."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this worker writes checkpoints, history and pictures."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks in rank order (one value without a process group)."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.world_size == 1:
            return tensor
        summed = tensor.detach().clone()
        dist.all_reduce(summed)
        return summed

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over all ranks."""
        return self.sum(tensor) / self.world_size

    def barrier(self) -> None:
        """Wait until every rank has called this."""
        if self.world_size > 1:
            dist.barrier()


def choose_device(setting: str, local_rank: int) -> torch.device:
    """Return the worker's device for the setting ``device`` (``auto``, ``cpu`` or ``cuda``).

    Raises:
        TrainingError: fewer GPUs are visible than local workers run.
    """
    if setting == "cpu" or (setting == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise TrainingError(
            f"device={setting}: worker {local_rank} needs its own GPU, but {count} are visible; "
            f"use nproc_per_node={max(count, 1)} or device=cpu"
        )
    return torch.device("cuda", local_rank)


@contextmanager
def worker_session(*, use_ddp: bool, device_setting: str) -> Iterator[Worker]:
    """Join the process group of torchrun, or run as a single process; destroy the group at the end.

    Raises:
        TrainingError: ``distributed.use_ddp=true`` outside torchrun.
    """
    if not use_ddp:
        device = choose_device(device_setting, 0)
        yield Worker(0, 1, device)
        return
    if "RANK" not in os.environ:
        raise TrainingError(
            "distributed.use_ddp=true needs torchrun, but this process was started without it; "
            "start it with `torchrun --standalone --nproc_per_node=N …` or set distributed.use_ddp=false"
        )
    # Import it before the group exists: its functions bind the world group as a default argument at import. DDP
    # imports it later, and these defaults would then keep the group and its threads alive until interpreter exit.
    import_module("torch.distributed.nn")

    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = choose_device(device_setting, int(os.environ.get("LOCAL_RANK", rank)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=timedelta(minutes=10), device_id=device)
    else:
        dist.init_process_group("gloo", timeout=timedelta(minutes=10))
    try:
        yield Worker(rank, world_size, device)
    except BaseException:
        # NCCL could wait forever for the other ranks here; torchrun ends them once this process has exited.
        if device.type != "cuda":
            _leave_group()
        raise
    _leave_group()


def _leave_group() -> None:
    """Destroy the process group and collect garbage, so that its destructor runs now and joins its threads.

    A gloo thread that still runs at interpreter exit can abort the worker (SIGABRT after all work was done, in one of
    70 chunks on a busy CPU).
    """
    gc.collect()
    dist.destroy_process_group()
    gc.collect()


def seed_worker(seed: int, rank: int) -> None:
    """Seed torch for training; each rank gets its own random stream."""
    torch.manual_seed(seed * 1_000_003 + 7919 * rank + 17)


def rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return this rank's random state as tensors for a checkpoint."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore a random state that `rng_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
