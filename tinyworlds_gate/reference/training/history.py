"""Metrics of a stage: always a CSV file `Logs/<stage>_history_<run>.csv` with W&B's key names, optionally W&B too."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.reference.training.wandb_mode import wandb_mode
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.owned import append_text_to
from tinyworlds_gate.run.redact import redact, redact_tree

HELD_OUT_LOSS = "held_out/loss"

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
    HELD_OUT_LOSS,
)


def history_path(project_root: Path, stage: str, run: str) -> Path:
    """Return the path of the history file of a stage and run."""
    return project_root / "Logs" / f"{stage}_history_{run}.csv"


class HistoryFile:
    """An append-only CSV with one row per update, which can be continued at an absolute update."""

    def __init__(self, path: Path, start_update: int) -> None:
        """Open ``path`` and drop rows at or after ``start_update`` (left by a chunk that died after its checkpoint).

        An incomplete last row is dropped too. The file is replaced atomically and synced, so a kill or a power cut
        never loses the rows of earlier chunks.
        """
        kept = _rows_before(path, start_update) if path.exists() else []
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(kept)
        self._file = append_text_to(path)
        self._writer = csv.writer(self._file)
        # Times advance with the monotonic clock, so that setting the system clock does not change updates per second.
        self._clock_at_zero = time.time() - time.monotonic()

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of one update. Raises ValueError for a metric that has no column."""
        unknown = set(metrics) - set(COLUMNS)
        if unknown:
            raise ValueError(f"history has no column for {sorted(unknown)}")
        moment = self._clock_at_zero + time.monotonic()
        values = {"_step": update, "_timestamp": f"{moment:.3f}", **metrics}
        self._writer.writerow([_cell(values.get(column, "")) for column in COLUMNS])

    def flush(self) -> None:
        """Write all rows to disk (fsync)."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file."""
        if not self._file.closed:
            self.flush()
            self._file.close()


TIMEOUTS = {"WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "60"}
"""Seconds that a server may hold up the start and the end of a run, as the user's variables do not say otherwise."""


class WandbLog:
    """Logs the same rows to a W&B run: online with an API key, else an offline run under `wandb/`.

    It goes offline if the server does not take the run.

    The harness sets the run ID with `WANDB_RUN_ID`, one per chunk (`launch/wandb_run.py`).
    """

    def __init__(self, *, project: str, name: str, stage: str, config: Mapping[str, Any], directory: Path) -> None:
        import wandb

        for variable, seconds in TIMEOUTS.items():
            os.environ.setdefault(variable, seconds)
        fields = {"project": project, "name": name, "group": stage, "config": redact_tree(dict(config))}
        mode = wandb_mode(os.environ, directory)
        try:
            try:
                self._run = wandb.init(**fields, dir=str(directory), mode=mode)
            except (wandb.errors.Error, OSError) as error:
                if mode != "online":
                    raise
                said = redact(" ".join(str(error).split())[:300])
                print(f"W&B could not start an online run ({said}); this chunk is logged offline", flush=True)
                wandb.teardown()
                mode = "offline"
                self._run = wandb.init(**fields, dir=str(directory), mode=mode)
        except (wandb.errors.Error, OSError) as error:
            raise TrainingError(
                f"use_wandb=true, but W&B could not start a run (mode {mode}): {redact(str(error))}; "
                "set WANDB_MODE=offline, or use_wandb=false to train without it"
            ) from error

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of one update at its absolute step."""
        self._run.log(dict(metrics), step=update)

    def close(self) -> None:
        """Finish the W&B run."""
        self._run.finish()


def _rows_before(path: Path, start_update: int) -> list[list[str]]:
    """Return the complete rows before an update, in the order of ``COLUMNS``.

    A column that the file does not have (a version before it wrote the file) is empty.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    # Only lines that end with a newline count: "…,3.1" may be the start of "…,3.14".
    names, *rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines())) or [[]]
    if "_step" not in names:
        return []
    step = names.index("_step")
    places = [names.index(column) if column in names else None for column in COLUMNS]
    return [
        ["" if place is None else row[place] for place in places]
        for row in rows
        if len(row) == len(names) and row[step].isdigit() and int(row[step]) < start_update
    ]


def _cell(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)
