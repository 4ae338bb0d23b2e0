"""The three gated stages: order, launcher, devices, chunks, gates, parameters (L2, L3, L5, S*, P1, P2, M1–M3, H*).

pytest validation/ -m smoke -k training
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.findings import processes, retuning, training
from tinyworlds_gate.stages.retune import ChunkParams

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop
    from tinyworlds_gate.stages.controller import StageResult

STAGES = training.STAGES


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("video_tokenizer", marks=pytest.mark.requirement("S1")),
        pytest.param("latent_actions", marks=pytest.mark.requirement("S2")),
        pytest.param("dynamics", marks=pytest.mark.requirement("S3")),
    ],
)
def test_the_stage_trains_to_its_target_and_passes_its_gate(
    stage: str, closed_loop: ClosedLoop, findings_of: Callable[..., None]
) -> None:
    result = closed_loop.stage(stage)
    if result.verdict == "NOT-RUN":
        pytest.skip(f"NOT-RUN: {result.reason}")
    findings_of(training.stage_gate(closed_loop.context.journal.events(), stage))


@pytest.mark.requirement("L5", "H1", "H2")
def test_the_stages_trained_in_order_from_fresh_weights(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    events = closed_loop.context.journal.events()
    findings_of(training.stage_order(events), training.defaults(events))


@pytest.mark.requirement("L2", "H5")
def test_every_chunk_had_exactly_one_launcher(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    findings_of(processes.single_launcher(closed_loop.context.journal.events()))


@pytest.mark.requirement("L3", "H6")
def test_all_gpus_worked_at_the_same_time_for_this_launcher(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    context = closed_loop.context
    nproc_given = "option" in context.settings.provenance["training.nproc_per_node"]
    gpus = 0 if context.on_cpu else context.gpus
    findings_of(processes.devices(context.journal.events(), gpus, context.nproc, nproc_given))


@pytest.mark.requirement("S4", "S5")
def test_a_chunk_counts_only_with_its_own_artifacts(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    events = closed_loop.context.journal.events()
    gates = closed_loop.context.settings.profile.thresholds.stage_gates
    thresholds = {stage: getattr(gates, stage).model_dump() for stage in STAGES}
    findings_of(training.chunk_checkpoints(events), training.thresholds_named(events, thresholds))


@pytest.mark.requirement("P1", "P2", "H9")
def test_parameters_name_their_origin_and_the_effective_batch_is_tracked(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    findings_of(training.parameters(closed_loop.context.journal.events()))


@pytest.mark.requirement("H7")
def test_no_chunk_resets_the_progress_of_its_stage(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    findings_of(training.absolute_steps(closed_loop.context.journal.events()))


@pytest.mark.requirement("H8")
def test_a_batch_of_one_marks_the_run_degraded(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    findings_of(training.degraded(closed_loop.context.journal.events()))


@pytest.mark.requirement("M1", "M2", "M3")
def test_history_checkpoints_and_pictures_moved_in_every_chunk(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    findings_of(training.channels(closed_loop.context.journal.events()))


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
def test_the_retune_ladders_of_this_run_end_and_were_followed(
    closed_loop: ClosedLoop, trained_stages: Mapping[str, StageResult], findings_of: Callable[..., None]
) -> None:
    context = closed_loop.context
    start = {stage: ChunkParams.of(context.settings.stages[stage]) for stage in STAGES}
    findings_of(
        retuning.ladders(context.journal.events(), start, context.settings.profile.max_train_retries, context.nproc)
    )
