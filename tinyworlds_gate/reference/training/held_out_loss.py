"""The stage's own loss on clips of held-out episodes, which no stage trains on, measured now and then during training.

Training is not affected, bit by bit: the loss has its own random numbers, and weights and random states stay as they
were. All evaluations use the same clips and the same masks, so that two values differ only by the weights.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.distributed import Worker, restore_rng, rng_state
from tinyworlds_gate.reference.training.objectives import Objective
from tinyworlds_gate.reference.training.regional_compile import uncompiled

HELD_OUT_CLIPS = 32
SEED = 0x6865_6C64


class HeldOutLoss:
    """Measures the loss after every ``every``-th absolute update and after update ``target``."""

    def __init__(
        self,
        objective: Objective,
        batches: BatchSource,
        worker: Worker,
        *,
        every: int,
        target: int,
        autocast: bool,
        compiled: bool = False,
        sharded: bool = False,
    ) -> None:
        """``every`` 0 never measures. ``sharded``: under FSDP every rank must measure; otherwise only rank 0 does."""
        self.objective, self.batches, self.worker = objective, batches, worker
        self.every, self.target = every, target
        self.autocast, self.compiled, self.sharded = autocast, compiled, sharded
        self.starts = batches.held_out_examples(HELD_OUT_CLIPS)
        self.active = bool(every) and len(self.starts) > 0 and (worker.is_main or sharded)

    def after(self, done: int) -> Tensor | None:
        """Return the loss (scalar on the device) after ``done`` updates, or None when it is not due.

        It does not wait for the GPU. If the GPU lacks the memory, this and all later values are left out.
        """
        if not self.active or (done % self.every and done != self.target):
            return None
        device = self.worker.device
        state = rng_state(device)
        try:
            return self._loss()
        except torch.OutOfMemoryError as error:
            if self.sharded:  # the other ranks wait in a collective
                raise
            self.active = False
            print(f"warning: no held-out loss from update {done} on: {str(error).splitlines()[0]}", flush=True)
            return None
        finally:
            restore_rng(state, device)

    @torch.no_grad()
    def _loss(self) -> Tensor:
        device = self.worker.device
        torch.manual_seed(SEED)
        self.objective.train()  # some losses have terms in training mode only
        total = torch.zeros((), device=device)
        with (
            uncompiled() if self.compiled else contextlib.nullcontext(),
            torch.autocast(device.type, torch.bfloat16, enabled=self.autocast),
        ):
            for part in self.starts.split(self.batches.batch_size):
                loss, _ = self.objective(*self.objective.prepare(self.batches.batch(part)))
                total += loss.detach().float() * len(part)
        if self.sharded:
            from tinyworlds_gate.reference.training.sharding import reshard

            reshard(self.objective.model)
        return total / len(self.starts)
