"""One launch of a stage: its command line, and the guarded run of that command (P1, L2, L3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.chunk_watch import ChunkSettings, Progress
from tinyworlds_gate.launch.command import stage_command, stage_environment
from tinyworlds_gate.launch.launcher import ChunkResult, chunk_files, run_chunk
from tinyworlds_gate.launch.nodes import Nodes
from tinyworlds_gate.launch.wandb_run import WandbRun, with_wandb_run
from tinyworlds_gate.names import BACKBONE_KEYS, STAGES
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.retune import ChunkParams
from tinyworlds_gate.targets.arguments import PASSED_ON, stage_arguments
from tinyworlds_gate.targets.base import Target


@dataclass(frozen=True)
class Chunk:
    """One launch: its updates ``[start, end)`` and the schedule that they belong to."""

    number: int
    stage: str
    start: int
    end: int
    target: int
    schedule_start: int
    reason: str
    wandb: WandbRun | None = None


def chunk_command(
    target: Target,
    settings: Settings,
    chunk: Chunk,
    start: CheckpointRef | None,
    inputs: Mapping[str, CheckpointRef],
    *,
    on_cpu: bool,
    frames: Path | None = None,
    rendezvous: Rendezvous | None = None,
) -> list[str]:
    """The launcher's command line for a chunk.

    Args:
        start: the checkpoint to continue from; None for new weights.
        inputs: the tokenizer and the latent-action model that dynamics is trained on.
        frames: the frames file; None lets the stage find it by the dataset's name. A checkout always does.
        rendezvous: where the launchers of all nodes meet; None on one machine.
    """
    config, training = settings.stages[chunk.stage], settings.training
    checkpoint = None if start is None else start.path
    models = {stage: inputs[stage].path for stage in STAGES[:2]} if chunk.stage == "dynamics" else {}
    if target.is_checkout:
        words = stage_arguments(
            target,
            {key: getattr(config, key) for key in PASSED_ON},
            n_updates=chunk.end,
            start=chunk.start,
            log_interval=config.log_interval,
            on_cpu=on_cpu,
            checkpoint=checkpoint,
            inputs=models,
            backbone=injected_backbone(settings),
            compiles=training.compile,
            dataset=settings.chosen_dataset,
        )
        return stage_command(target, chunk.stage, nproc_per_node=training.nproc_per_node, overrides=words)
    values: dict[str, Any] = {
        "n_updates": chunk.end,
        "batch_size_per_gpu": config.batch_size_per_gpu,
        "learning_rate": config.learning_rate,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "log_interval": config.log_interval,
        "keep_checkpoints": config.keep_checkpoints,
        "schedule_start": chunk.schedule_start,
        "schedule_end": chunk.target,
        "seed": training.seed,
        "device": "cpu" if on_cpu else "cuda",
        "held_out_fraction": training.held_out_fraction,
        "split_seed": training.split_seed,
        "use_wandb": training.use_wandb,
    }
    if settings.chosen_dataset is not None:
        values["dataset"] = settings.chosen_dataset
    if frames is not None:
        values["data_path"] = frames
    if checkpoint is not None:
        values["checkpoint"] = checkpoint
    values |= {f"{stage}_path": path for stage, path in models.items()}
    return stage_command(
        target,
        chunk.stage,
        nproc_per_node=training.nproc_per_node,
        overrides=values,
        rendezvous=rendezvous,
        chunk=chunk.number,
    )


def injected_backbone(settings: Settings) -> dict[str, int] | None:
    """Return the backbone on every stage's command line under ``--align-backbone inject`` (C2), else None."""
    if settings.options.align_backbone != "inject":
        return None
    return {key: getattr(settings.training, key) for key in BACKBONE_KEYS}


def announcement(layout: RunLayout, settings: Settings, chunk: Chunk, command: list[str]) -> dict[str, Any]:
    """The fields of ``chunk_started`` with the command, the updates and the parameters (P1, P2)."""
    params = ChunkParams.of(settings.stages[chunk.stage])
    return {
        "chunk": chunk.number,
        "reason": chunk.reason,
        "command": command,
        "log": layout.chunk_log(chunk.number, chunk.stage),
        "start_update": chunk.start,
        "end_update": chunk.end,
        "target_updates": chunk.target,
        "schedule_start": chunk.schedule_start,
        "params": vars(params),
        "param_sources": {key: settings.source_of(chunk.stage, key) for key in vars(params)},
        "nproc_per_node": settings.training.nproc_per_node,
        "nnodes": settings.options.nnodes,
        "effective_batch": settings.effective_batch(chunk.stage),
        "wandb": chunk.wandb,
    }


def launch_chunk(
    target: Target,
    layout: RunLayout,
    settings: Settings,
    chunk: Chunk,
    command: list[str],
    *,
    on_cpu: bool,
    nodes: Nodes | None = None,
    progress: Progress | None = None,
) -> ChunkResult:
    """Run the command to its end under guard, watched and within its deadlines.

    With ``nodes`` it is one chunk on all of them, and the result is that of all nodes.

    Raises:
        LaunchError: the command cannot be started.
        DiskError: its evidence cannot be written.
    """
    options, watchdog = settings.options, settings.profile.watchdog
    rendezvous = None if nodes is None else nodes.rendezvous
    chunk_settings = ChunkSettings(
        nproc=settings.training.nproc_per_node,
        monitor_interval_s=options.monitor_interval_sec,
        gpu_util_threshold=options.gpu_util_threshold,
        gpu_required_samples=options.gpu_required_samples,
        cleanup_extra=options.cleanup_extra_processes,
        deadline_s=watchdog.chunk_deadline_s,
        stall_s=watchdog.stall_s,
        rendezvous=rendezvous,
    )
    if nodes is not None:
        nodes.begin(chunk.number)
    files = chunk_files(layout, chunk.number)
    env = stage_environment(target, files, on_cpu=on_cpu, rendezvous=rendezvous)
    result = run_chunk(
        target,
        layout,
        chunk_settings,
        stage=chunk.stage,
        chunk=chunk.number,
        command=command,
        env=with_wandb_run(env, chunk.wandb),
        updates=chunk.end,
        start=chunk.start,
        progress=progress,
        others=None if nodes is None else partial(nodes.problem, chunk.number),
    )
    return result if nodes is None else nodes.merge(result, chunk.number)
