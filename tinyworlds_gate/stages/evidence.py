"""The evidence of one chunk, from the embedded reference or from a checkout (S4, M1–M3, P1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.checkout_artifacts import gather_checkout_evidence, visualizations_of
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, gather_evidence, pictures_in
from tinyworlds_gate.stages.chunk_launch import Chunk
from tinyworlds_gate.targets.arguments import interval_on_command_line
from tinyworlds_gate.targets.base import Target


def pictures_before(target: Target, layout: RunLayout, stage: str) -> dict[Path, int]:
    """The stage's pictures with their modification times (ns); taken before a chunk starts."""
    return pictures_in(visualizations_of(target, layout, stage))


def evidence_of_chunk(
    target: Target,
    layout: RunLayout,
    settings: Settings,
    chunk: Chunk,
    pictures: Mapping[Path, int],
    history_problem: str | None = None,
) -> ChunkEvidence:
    """What a chunk that has just ended left.

    ``pictures`` is what ``pictures_before`` returned; ``history_problem`` what was wrong when the W&B files of a
    checkout were read.
    """
    config = settings.stages[chunk.stage]
    if not target.is_checkout:
        return gather_evidence(
            layout,
            chunk.stage,
            start_update=chunk.start,
            end_update=chunk.end,
            schedule=Schedule(config.learning_rate, chunk.schedule_start, chunk.target, config.warmup_fraction),
            pictures_before=pictures,
        )
    return gather_checkout_evidence(
        target,
        layout,
        chunk.stage,
        start_update=chunk.start,
        end_update=chunk.end,
        target_updates=chunk.target,
        learning_rate=config.learning_rate,
        log_interval=interval_on_command_line(target, chunk.start, chunk.end, config.log_interval),
        nproc=settings.training.nproc_per_node,
        pictures_before=pictures,
        history_problem=history_problem,
    )
