"""One launch of a stage: what its command line sets, and the guarded run of that command (P1, L2, L3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.launch.command import stage_command, stage_environment
from tinyworlds_gate.launch.launcher import ChunkResult, chunk_files, run_chunk
from tinyworlds_gate.launch.wandb_run import WandbRun, with_wandb_run
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.stages.retune import ChunkParams
from tinyworlds_gate.targets.arguments import PASSED_ON, stage_words


@dataclass(frozen=True)
class Chunk:
    """One launch: its updates and the schedule that they belong to."""

    number: int
    stage: str
    start: int
    end: int
    target: int
    schedule_start: int
    reason: str
    wandb: WandbRun | None = None


def chunk_command(
    context: RunContext, chunk: Chunk, start: CheckpointRef | None, inputs: Mapping[str, CheckpointRef]
) -> list[str]:
    """The launcher's command line; ``start`` is the checkpoint to continue, ``inputs`` are dynamics' two models."""
    config, training = context.settings.stages[chunk.stage], context.settings.training
    if context.target.is_checkout:
        return stage_command(
            context.target,
            chunk.stage,
            nproc_per_node=context.nproc,
            overrides=_checkout_words(context, chunk, start, inputs),
        )
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
        "device": "cpu" if context.on_cpu else "cuda",
        "held_out_fraction": training.held_out_fraction,
        "split_seed": training.split_seed,
    }
    if context.data_path is not None:
        values["data_path"] = context.data_path
    if start is not None:
        values["checkpoint"] = start.path
    if chunk.stage == "dynamics":
        values["video_tokenizer_path"] = inputs["video_tokenizer"].path
        values["latent_actions_path"] = inputs["latent_actions"].path
    return stage_command(
        context.target,
        chunk.stage,
        nproc_per_node=context.nproc,
        overrides=values,
        rendezvous=context.rendezvous,
        chunk=chunk.number,
    )


def _checkout_words(
    context: RunContext, chunk: Chunk, start: CheckpointRef | None, inputs: Mapping[str, CheckpointRef]
) -> dict[str, object]:
    config = context.settings.stages[chunk.stage]
    return stage_words(
        context.target,
        {key: getattr(config, key) for key in PASSED_ON},
        n_updates=chunk.end,
        log_interval=config.log_interval,
        on_cpu=context.on_cpu,
        checkpoint=start.path if start is not None else None,
        inputs={stage: inputs[stage].path for stage in STAGES[:2]} if chunk.stage == "dynamics" else None,
    )


def announcement(context: RunContext, chunk: Chunk, command: list[str]) -> dict[str, Any]:
    """The fields of ``chunk_started`` that say what is launched with which parameters (P1, P2)."""
    settings, layout = context.settings, context.layout
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
        "nproc_per_node": context.nproc,
        "nnodes": context.nnodes,
        "effective_batch": settings.effective_batch(chunk.stage),
        "wandb": chunk.wandb,
    }


def launch_chunk(context: RunContext, chunk: Chunk, command: list[str]) -> ChunkResult:
    """Run the command to its end under guard, watched and within its deadlines; with other nodes, as all saw it."""
    nodes = context.nodes
    if nodes is None:
        return _launch(context, chunk, command)
    nodes.begin(chunk.number)
    return nodes.merged(_launch(context, chunk, command, partial(nodes.problem, chunk.number)), chunk.number)


def _launch(
    context: RunContext, chunk: Chunk, command: list[str], others: Callable[[], str | None] | None = None
) -> ChunkResult:
    layout, settings = context.layout, context.settings
    watchdog, options = settings.profile.watchdog, settings.options
    files = chunk_files(layout, chunk.number)
    env = stage_environment(context.target, files, on_cpu=context.on_cpu, rendezvous=context.rendezvous)
    return run_chunk(
        context.target,
        chunk.stage,
        command,
        with_wandb_run(env, chunk.wandb),
        layout=layout,
        chunk=chunk.number,
        nproc=context.nproc,
        monitor_interval_s=options.monitor_interval_sec,
        gpu_util_threshold=options.gpu_util_threshold,
        gpu_required_samples=options.gpu_required_samples,
        cleanup_extra=options.cleanup_extra_processes,
        deadline_s=watchdog.chunk_deadline_s,
        stall_s=watchdog.stall_s,
        progress=context.progress_of(chunk.stage, chunk.start, chunk.end),
        updates=chunk.end,
        rendezvous=context.rendezvous,
        others=others,
    )
