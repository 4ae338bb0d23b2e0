"""The plain implementation that speeds are compared with: operation by operation, the library's attention, no compiler.

It is the same mathematics with the same weights, in the same process, on the same machine. Ratios to it can be kept and
compared where times cannot.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tinyworlds_gate.config.load import Settings


@contextmanager
def plain_attention() -> Iterator[None]:
    """Inside, attention is the library's on every device."""
    from tinyworlds_gate.reference.models.kernels import spatial_attention

    spatial_attention.library_only = True
    try:
        yield
    finally:
        spatial_attention.library_only = False


def seconds_each(work: Callable[[], object], device: torch.device, repeats: int, rounds: int) -> float:
    """Median over the rounds of the seconds of one call, after one round of warm-up."""
    import torch

    def one_round() -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / repeats

    one_round()
    return statistics.median(one_round() for _ in range(rounds))


def plain_updates_per_s(
    stage: str, settings: Settings, device: torch.device, *, batch: int, updates: int, rounds: int
) -> float:
    """Updates per second of a stage, operation by operation, on random frames that lie in memory already."""
    import torch

    from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
    from tinyworlds_gate.reference.models.sizes import ModelSizes
    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
    from tinyworlds_gate.reference.training import objectives
    from tinyworlds_gate.reference.training.build_objective import build_objective
    from tinyworlds_gate.reference.training.optimizer import build_optimizer

    training, config = settings.training, settings.stages[stage]
    sizes = ModelSizes.from_mapping(training.model_dump())
    if stage == "dynamics":
        frozen = VideoTokenizer(sizes).eval(), LatentActionModel(sizes).eval()
        objective: objectives.Objective = objectives.DynamicsObjective(sizes, *frozen).to_device(device)
    else:
        objective = build_objective(stage, sizes).to(device)
    optimizer = build_optimizer(objective.model, config.learning_rate, graphed=False)
    side = training.frame_size
    frames = torch.rand(batch, training.context_length, 3, side, side, device=device) * 2 - 1

    def update() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=training.amp and device.type == "cuda"):
            loss, codes = objective(*objective.prepare(frames))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        objective.metrics(codes).tolist()

    with plain_attention():
        return 1 / seconds_each(update, device, updates, rounds)
