"""Updates as CUDA graphs, which the host launches several updates ahead of the GPU.

An update of a small model is hundreds of kernels of a few microseconds, and Python launches them more slowly than a GPU
runs them. Captured once, an update replays as two graphs: gradients, then optimizer step. Between the two, ranks
all-reduce one buffer that holds all gradients and the loss.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from tinyworlds_gate.config.schema import StageConfig
from tinyworlds_gate.reference.models.kernels import background_builds
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.clip_feed import ClipFeed
from tinyworlds_gate.reference.training.distributed import Worker, restore_rng, rng_state
from tinyworlds_gate.reference.training.objectives import Objective
from tinyworlds_gate.reference.training.optimizer import set_learning_rate
from tinyworlds_gate.reference.training.updates import LOSS, StartedUpdate

AHEAD = 8
WARM_UPS = 3


class GraphedUpdates:
    """The update of `EagerUpdates` as CUDA graphs; up to ``AHEAD`` updates may be in flight."""

    ahead = AHEAD

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        batches: BatchSource,
        stage: StageConfig,
        worker: Worker,
        *,
        autocast: bool,
    ) -> None:
        """Warm up and capture, then restore weights, optimizer state and random state."""
        self.objective, self.optimizer = objective, optimizer
        self.stage, self.worker, self.autocast = stage, worker, autocast
        device = worker.device
        self.parameters = [one for one in objective.model.parameters() if one.requires_grad]
        if worker.world_size > 1:
            for parameter in self.parameters:
                dist.broadcast(parameter.data, 0)
        # One buffer for all gradients, with the loss as its last element.
        sizes = [one.numel() for one in self.parameters]
        self.reduced = torch.zeros(sum(sizes) + 1, device=device)
        parts = self.reduced[:-1].split(sizes)
        self.gradients = [part.view_as(one) for part, one in zip(parts, self.parameters, strict=True)]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        slots = AHEAD + 2
        self.feed = ClipFeed(batches, stage.gradient_accumulation_steps, slots)
        # Per update: the mean loss, the metrics, and this rank's own loss.
        self._arrived = torch.empty(slots, 2 + len(objective.metric_names), dtype=torch.float64, pin_memory=True)
        self._events = [torch.cuda.Event() for _ in range(slots)]
        self._slot = 0
        objective.train()
        self._capture()

    def take(self, rate: float) -> StartedUpdate:
        slot, self._slot = self._slot, (self._slot + 1) % len(self._events)
        self.feed.draw(slot)
        set_learning_rate(self.optimizer, rate)
        self._gradients.replay()
        self._reduce()
        self._step.replay()
        self._arrived[slot].copy_(self.metrics, non_blocking=True)
        self._events[slot].record()
        return _Started(self._events[slot], self._arrived[slot], (LOSS, *self.objective.metric_names))

    def _compute_gradients(self) -> None:
        accumulation = self.stage.gradient_accumulation_steps
        self.reduced.zero_()
        loss_sum = torch.zeros((), device=self.worker.device)
        codes: list[Tensor] = []
        for micro in range(accumulation):
            with torch.autocast("cuda", torch.bfloat16, enabled=self.autocast):
                inputs = self.objective.prepare(self.feed.clips(micro))
                loss, step_codes = self.objective(*inputs)
            torch._foreach_add_(self.gradients, torch.autograd.grad(loss / accumulation, self.parameters))
            loss_sum += loss.detach()
            codes.append(step_codes.detach())
        self.own_loss = loss_sum / accumulation
        self.reduced[-1] = self.own_loss
        self.numbers = self.objective.metrics(torch.cat(codes))

    def _reduce(self) -> None:
        if self.worker.world_size > 1:
            dist.all_reduce(self.reduced, op=dist.ReduceOp.AVG)

    def _apply(self) -> None:
        """Clip the gradients by their total norm, as `clip_grad_norm_` does, and take the optimizer step."""
        norm = torch.linalg.vector_norm(self.reduced[:-1])
        self.reduced[:-1] *= (self.stage.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        self.optimizer.step()
        self.metrics = torch.cat((self.reduced[-1:].double(), self.numbers, self.own_loss.double().view(1)))

    def _capture(self) -> None:
        device = self.worker.device
        rng = rng_state(device)
        weights = [one.detach().clone() for one in self.parameters]
        moments = {
            one: {name: value.clone() for name, value in entry.items()}
            for one in self.parameters
            if (entry := self.optimizer.state.get(one))
        }
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._compute_gradients()
                self._reduce()
                self._apply()
        torch.cuda.current_stream(device).wait_stream(aside)
        background_builds.wait()  # so that no other thread uses the GPU during capture
        self._gradients, self._step = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._gradients, capture_error_mode="thread_local"):
            self._compute_gradients()
        with torch.cuda.graph(self._step, pool=self._gradients.pool(), capture_error_mode="thread_local"):
            self._apply()
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, weights, strict=True):
                parameter.copy_(weight)
            for one in self.parameters:
                entry, before = self.optimizer.state[one], moments.get(one)
                for name, value in entry.items():
                    value.copy_(before[name] if before else torch.zeros_like(value))
        restore_rng(rng, device)


class _Started:
    def __init__(self, event: torch.cuda.Event, numbers: Tensor, names: tuple[str, ...]) -> None:
        self._event, self._numbers, self._names = event, numbers, names

    @property
    def own_loss(self) -> float:
        return float(self._numbers[-1])

    def wait(self) -> Mapping[str, float]:
        self._event.synchronize()
        return dict(zip(self._names, self._numbers[:-1].tolist(), strict=True))
