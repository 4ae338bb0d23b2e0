"""Offline W&B runs, written by the stages' own logger in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = """
import math, os, sys
from pathlib import Path
import wandb
from tinyworlds_gate.reference.training.history import WandbLog

for word in sys.argv[2:]:
    run_id, start, end = word.split(":")
    os.environ["WANDB_RUN_ID"] = run_id
    log = WandbLog(project="tinyworlds", name="x", stage="dynamics", config={"a": 1}, directory=Path(sys.argv[1]))
    for step in range(int(start), int(end)):
        loss = math.nan if step == 3 else 5 - 0.25 * (step % 8)
        log.write(step, {"train/loss": loss, "learning_rate/group_0": 5e-4})
    log.close()
    wandb.teardown()
"""


def write_offline_runs(root: Path, *runs: tuple[str, int, int]) -> None:
    """Write runs `(id, first update, end)` below `root/wandb/`; `train/loss` is 5 − 0.25·(update mod 8), NaN at 3."""
    words: Sequence[str] = [f"{run_id}:{start}:{end}" for run_id, start, end in runs]
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root), *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"wandb wrote no offline run: {done.stderr[-2000:]}")
