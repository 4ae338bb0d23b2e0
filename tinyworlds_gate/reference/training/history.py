"""Metrics of a stage: always `Logs/<stage>_history_<run>.csv` in W&B's key names, and W&B itself when asked."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tinyworlds_gate.checkpoints.durable import sync_folder
from tinyworlds_gate.errors import TrainingError

WandbMode = Literal["online", "offline", "disabled"]

COLUMNS = (
    "_step",
    "_timestamp",
    "train/loss",
    "learning_rate/group_0",
    "train/codebook_usage",
    "latent_actions/codebook_usage",
    "action_entropy",
    "unique_actions",
    "system/gpu_memory_allocated",
)


def history_path(project_root: Path, stage: str, run: str) -> Path:
    """Where the history of one stage of one run lies."""
    return project_root / "Logs" / f"{stage}_history_{run}.csv"


class HistoryFile:
    """An append-only CSV, one row an update, continued at an absolute update."""

    def __init__(self, path: Path, start_update: int) -> None:
        """Open ``path``; rows at or after ``start_update`` (a chunk that died after its checkpoint) are dropped.

        A torn last row is dropped too. The file is replaced in one step and brought to the disk: a kill or a power cut
        leaves the rows of earlier chunks in the old file or in the new one.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _rows_before(path, start_update) if path.exists() else []
        temporary = path.with_suffix(".csv.part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        # Counted from here on, so that a clock that is set meanwhile does not change the updates a second.
        self._clock_at_zero = time.time() - time.monotonic()

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of one update; a metric that is not a column is a defect."""
        unknown = set(metrics) - set(COLUMNS)
        if unknown:
            raise ValueError(f"history has no column for {sorted(unknown)}")
        moment = self._clock_at_zero + time.monotonic()
        values = {"_step": update, "_timestamp": f"{moment:.3f}", **metrics}
        self._writer.writerow([_cell(values.get(column, "")) for column in COLUMNS])

    def flush(self) -> None:
        """Bring all rows to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close; further writes are an error."""
        if not self._file.closed:
            self.flush()
            self._file.close()


def wandb_mode(environment: Mapping[str, str]) -> WandbMode:
    """`WANDB_MODE` where it is set; else online with a key in `WANDB_API_KEY`, and offline without one."""
    wanted = environment.get("WANDB_MODE") or ("online" if environment.get("WANDB_API_KEY") else "offline")
    return "online" if wanted == "online" else "disabled" if wanted == "disabled" else "offline"


class WandbLog:
    """The same rows in a W&B run: online when the user has a key, else an offline run under `wandb/`.

    The harness names the run by `WANDB_RUN_ID`, one for each chunk (`launch/wandb_run.py`).
    """

    def __init__(self, *, project: str, name: str, stage: str, config: Mapping[str, Any], directory: Path) -> None:
        import wandb

        mode = wandb_mode(os.environ)
        try:
            self._run = wandb.init(
                project=project, name=name, group=stage, config=dict(config), dir=str(directory), mode=mode
            )
        except (wandb.errors.Error, OSError) as error:
            raise TrainingError(
                f"use_wandb=true, but W&B could not start a run (mode {mode}): {error}; "
                "set WANDB_MODE=offline, or use_wandb=false to train without it"
            ) from error

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Log one update under its absolute step."""
        self._run.log(dict(metrics), step=update)

    def close(self) -> None:
        """Finish the W&B run."""
        self._run.finish()


def _rows_before(path: Path, start_update: int) -> list[list[str]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    # A row counts once its line is ended: "…,3.1" may be the beginning of "…,3.14".
    rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
    return [row for row in rows[1:] if len(row) == len(COLUMNS) and row[0].isdigit() and int(row[0]) < start_update]


def _cell(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)
