"""The evidence of one chunk by what trained it: the embedded reference, or somebody's checkout (S4, M1–M3, P1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.context import RunContext
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.stages.checkout_artifacts import gather_checkout_evidence, visualizations_of
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, gather_evidence, pictures_in
from tinyworlds_gate.stages.chunk_launch import Chunk
from tinyworlds_gate.targets.arguments import saving_interval


def pictures_before(context: RunContext, stage: str) -> dict[Path, int]:
    """The stage's pictures with their modification times (ns); taken before a chunk starts."""
    return pictures_in(visualizations_of(context.target, context.layout, stage))


def evidence_of_chunk(context: RunContext, chunk: Chunk, pictures: Mapping[Path, int], began: float) -> ChunkEvidence:
    """What a chunk that has just ended left.

    Args:
        pictures: of ``pictures_before``.
        began: when it was started (Unix seconds).
    """
    config = context.settings.stages[chunk.stage]
    if context.checkout is None:
        return gather_evidence(
            context.layout,
            chunk.stage,
            start_update=chunk.start,
            end_update=chunk.end,
            schedule=Schedule(config.learning_rate, chunk.schedule_start, chunk.target, config.warmup_fraction),
            pictures_before=pictures,
        )
    problem: str | None = "no W&B run was planned"
    if chunk.wandb is not None:
        span = (chunk.start, chunk.end)
        problem = context.checkout.read_history(context, chunk.stage, chunk.wandb, span, began)
    return gather_checkout_evidence(
        context.target,
        context.layout,
        chunk.stage,
        start_update=chunk.start,
        end_update=chunk.end,
        target_updates=chunk.target,
        learning_rate=config.learning_rate,
        log_interval=saving_interval(context.target, chunk.end, config.log_interval),
        nproc=context.nproc,
        pictures_before=pictures,
        history_problem=problem,
    )
