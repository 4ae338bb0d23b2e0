"""Find out in a short launch whether device evidence can be had (H6): same command, few updates, dense samples."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.launch.devices.concurrency import SHORTEST_SEEN_S
from tinyworlds_gate.launch.devices.monitor import DENSE_INTERVAL_S
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.chunk_launch import Chunk, chunk_command, launch_chunk
from tinyworlds_gate.targets.base import Target

PROBE_SECONDS = 20.0
"""Seconds of training that a probe aims at."""
FEWEST_UPDATES = 20


@dataclass(frozen=True)
class ProbeInputs:
    """What the probe launches: the chunk whose device evidence is missing, its inputs and its frames file."""

    target: Target
    layout: RunLayout
    settings: Settings
    stage: str
    chunk: int
    models: Mapping[str, CheckpointRef]
    frames: Path | None


def probe_updates(updates: int, wall_s: float, updates_per_s: float | None) -> int:
    """Return the updates of a probe, by the pace of the chunk before it (its whole time where its pace is unknown)."""
    pace = updates_per_s or (updates / wall_s if wall_s > 0 else 0.0)
    return max(FEWEST_UPDATES, round(PROBE_SECONDS * pace))


def probe_layout(layout: RunLayout, chunk: int) -> RunLayout:
    """Return the scratch run of a probe, below the run's folder; its name is unique, because histories carry it."""
    return RunLayout(layout.root / "probes", f"{layout.run}-probe_{chunk:03d}")


def probe_devices(inputs: ProbeInputs, updates: int) -> ChunkResult:
    """Train this many updates from new weights in a scratch run, with a device sample every 0.2 s from start to end.

    Its log and its device samples are kept. Its checkpoints are removed, and its history moves to the scratch run.

    Raises:
        LaunchError: the command cannot be started.
        DiskError: its evidence cannot be written.
    """
    scratch = probe_layout(inputs.layout, inputs.chunk)
    shutil.rmtree(scratch.root, ignore_errors=True)  # of a probe whose harness died
    scratch.root.mkdir(parents=True)
    settings = replace(
        inputs.settings,
        options=inputs.settings.options.model_copy(update={"monitor_interval_sec": DENSE_INTERVAL_S}),
        training=inputs.settings.training.model_copy(update={"use_wandb": False}),
    )
    chunk = Chunk(inputs.chunk, inputs.stage, 0, updates, updates, 0, "device probe")
    command = chunk_command(inputs.target, settings, chunk, None, inputs.models, on_cpu=False, frames=inputs.frames)
    try:
        return launch_chunk(inputs.target, scratch, settings, chunk, command, on_cpu=False)
    finally:
        shutil.rmtree(scratch.checkpoints(inputs.stage), ignore_errors=True)
        history = inputs.layout.histories / scratch.history(inputs.stage).name
        if history.exists():
            history.rename(scratch.root / history.name)


def probe_event(result: ChunkResult, updates: int, end: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``device_probe``; ``end``: the ``chunk_finished`` of the chunk without evidence.

    The evidence stands for the chunk if nothing contradicts it there, and its training was too short to be sampled.
    """
    trained_s = end.get("trained_s")
    unseen = trained_s is not None and trained_s < SHORTEST_SEEN_S and end.get("dual_gpu_ok") is None
    seen = result.dual_gpu_ok
    how = "" if result.ok else f" (the probe itself ended with {result.cause})"
    return {
        "chunk": result.chunk,
        "updates": updates,
        "exit_code": result.exit_code,
        "cause": result.cause,
        "dual_gpu_ok": seen,
        "stands_for_chunk": seen is True and unseen,
        "dual_gpu_reason": f"{result.dual_gpu_reason}{how}",
        "device_samples": result.device_samples,
        "log": result.log,
        "wall_s": result.wall_s,
    }
