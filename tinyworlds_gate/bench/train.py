"""Training speed: the real stages, launched as the loop launches them, on random frames.

tinyworlds-gate bench train --profile baseline

An update is one optimizer step on fresh random clips with accumulation 1. Its rate is read from the stage's own
history; the first update counts from the launch of the process, compilation included.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.bench.baseline import Rate, rate_of
from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import STAGES

if TYPE_CHECKING:
    import torch

    from tinyworlds_gate.config.load import Settings
    from tinyworlds_gate.targets.base import Target

EPISODE = 64
EPISODES = 64
ERROR_LINES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench train`."""
    parser.add_argument("--profile", default="smoke", help="sizes and batch sizes (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--stage", choices=STAGES, action="append", help="default: all; may be repeated")
    parser.add_argument(
        "--batch", type=parse_positive_int, help="clips of an update (default: the stage's batch_size_per_gpu)"
    )
    parser.add_argument("--updates", type=parse_positive_int, help="timed updates (default: 600 on a GPU, 20 on a CPU)")
    parser.add_argument(
        "--yardstick-updates",
        type=parse_positive_int,
        default=20,
        help="updates of one of its rounds (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=parse_positive_int, default=3, help="rounds of the yardstick (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=parse_positive_int, help="also with so many processes (default: the GPUs, if several)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the numbers into this JSON file too")


@dataclass(frozen=True)
class Launch:
    """One stage that was trained: its rate, the seconds to its first update, GiB of GPU memory (None on a CPU)."""

    rate: Rate
    first_update_s: float
    peak_mem_gib: float | None


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train the stages one after the other in a temporary project; returns plain data.

    Raises:
        GateError: the profile is wrong, there is no such device, or a stage failed.
    """
    import torch

    from tinyworlds_gate.bench.yardstick import plain_updates_per_s
    from tinyworlds_gate.config.load import resolve_settings
    from tinyworlds_gate.reference.training.distributed import choose_device
    from tinyworlds_gate.run.bytecode import has_bytecode, torch_source

    settings = resolve_settings(args.profile, {}, project_root=Path.cwd())
    device = choose_device(args.device, 0)
    on_gpu = device.type == "cuda"
    updates = args.updates or (600 if on_gpu else 20)
    workers = args.workers or (torch.cuda.device_count() if on_gpu else 1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinyworlds_bench_") as folder:
        target = _project(Path(folder), settings)
        stages = [stage for stage in STAGES if stage in (args.stage or STAGES)]
        for stage in _needed(stages):
            batch = args.batch or settings.stages[stage].batch_size_per_gpu
            alone = _launch(target, stage, device, updates=updates, batch=batch, workers=1)
            together = None
            if workers > 1:
                together = _launch(target, stage, device, updates=updates, batch=batch, workers=workers)
            if stage in stages:
                each = args.yardstick_updates if on_gpu else 2
                plain = plain_updates_per_s(stage, settings, device, batch=batch, updates=each, rounds=args.rounds)
                rows.append(_row(stage, batch, alone, together, workers, plain))
                print(f"{stage}: {json.dumps(rows[-1])}", file=sys.stderr, flush=True)  # a bench cut short kept this
    source = torch_source()
    where = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {os.environ.get('OMP_NUM_THREADS', '1')} thread"
    return {
        "bench": "train",
        "device": where,
        "torch": torch.__version__,
        "profile": args.profile,
        "compile": settings.training.compile,
        "bytecode": source is not None and has_bytecode(source),
        "stages": rows,
    }


def _needed(stages: list[str]) -> list[str]:
    """Dynamics is trained on checkpoints of the two others."""
    return list(STAGES) if "dynamics" in stages else stages


def _row(
    stage: str, batch: int, alone: Launch, together: Launch | None, workers: int, plain_per_s: float
) -> dict[str, Any]:
    rate = alone.rate
    row = {
        "stage": stage,
        "batch": batch,
        "updates_per_s": round(rate.median, 2),
        "slowest": round(rate.slowest, 2),
        "fastest": round(rate.fastest, 2),
        "updates": rate.updates,
        "first_update_s": round(alone.first_update_s, 1),
        "peak_mem_gib": None if alone.peak_mem_gib is None else round(alone.peak_mem_gib, 2),
        "yardstick_updates_per_s": round(plain_per_s, 2),
        "yardstick_ratio": round(rate.median / plain_per_s, 2),
    }
    if together is not None:
        row |= {
            "workers": workers,
            "workers_updates_per_s": round(together.rate.median, 2),
            "ddp_speedup": round(workers * together.rate.median / rate.median, 2),
        }
    return row


def _project(root: Path, settings: Settings) -> Target:
    """A project with the profile's settings and random frames."""
    import h5py
    import numpy as np

    from tinyworlds_gate.config.run_copy import copy_settings
    from tinyworlds_gate.targets.embedded import embedded_target

    side = settings.training.frame_size
    (root / "data").mkdir()
    with h5py.File(root / "data" / "random_frames.h5", "w") as file:
        frames = np.random.default_rng(0).integers(0, 256, (EPISODES * EPISODE, side, side, 3), np.uint8)
        file.create_dataset("frames", data=frames)
        file.create_dataset("episode", data=np.repeat(np.arange(EPISODES), EPISODE))
    return embedded_target(root, copy_settings(settings, root / "configs"))


def _launch(target: Target, stage: str, device: torch.device, *, updates: int, batch: int, workers: int) -> Launch:
    from tinyworlds_gate.launch.command import LaunchFiles, stage_command, stage_environment
    from tinyworlds_gate.reference.training.history import history_path

    warm_up = max(2, updates // 10)
    total = updates + warm_up + 1
    run = f"workers_{workers}"
    root = target.root / "results" / run
    overrides: dict[str, object] = {
        "dataset": "RANDOM",
        "fps": 60,
        "n_updates": total,
        "batch_size_per_gpu": batch,
        "gradient_accumulation_steps": 1,
        "log_interval": total,
        "device": device.type,
    }
    if stage == "dynamics":
        for name, setting in (("video_tokenizer", "video_tokenizer_path"), ("latent_actions", "latent_actions_path")):
            (trained,) = (root / name / "checkpoints").iterdir()
            overrides[setting] = trained
    command = stage_command(target, stage, nproc_per_node=workers, overrides=overrides)
    environment = stage_environment(target, LaunchFiles(root), on_cpu=device.type == "cpu")
    began = time.time()
    done = subprocess.run(command, cwd=target.root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-ERROR_LINES:])
        raise GateError(f"{stage} with {workers} worker(s) ended with exit code {done.returncode}:\n{last}")
    with history_path(target.root, stage, run).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    moments = [float(row["_timestamp"]) for row in rows]
    memory = rows[-1]["system/gpu_memory_allocated"]
    return Launch(rate_of(moments, warm_up), moments[0] - began, float(memory) if memory else None)
