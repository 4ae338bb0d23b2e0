"""Reads a run's `.wandb` file, which W&B writes online and offline, by wandb's own reader (`wandb leet inspect`).

The reader reads as much as it can: rows that a killed run had not written are missing, damaged ones are skipped.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.evidence.metrics.history import Row
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer, rows_between
from tinyworlds_gate.run.plain_json import load_json


def find_files(folders: Sequence[Path], run_id: str) -> list[Path]:
    """The `.wandb` files of one run below folders that hold `wandb/`: the id is in the folder's and the file's name."""
    names = [
        f"{home}/{kind}-*-{run_id}/run-{run_id}.wandb"
        for home in ("wandb", ".wandb")
        for kind in ("offline-run", "run")
    ]
    return sorted({path.resolve() for folder in folders for name in names for path in folder.glob(name)})


def read_run(folders: Sequence[Path], run: LoggedRun, beat: Callable[[], None]) -> RunAnswer:
    """Return the rows of one run's file between its updates, and the messages of wandb's reader.

    `beat` is called whenever something was read.
    """
    path = f"{run.project}/{run.id}"
    files = find_files(folders, run.id)
    if not files:
        return RunAnswer(path, {}, f"no file run-{run.id}.wandb lies under wandb/")
    rows: dict[int, Row] = {}
    said: list[str] = []
    for file in files:
        found, words = read_file(file, run, beat)
        rows |= found
        said += words
    if not rows and not said:
        said = [f"{files[0].name} holds no row of these updates"]
    return RunAnswer(path, rows, "; ".join(said) or None)


def read_file(file: Path, run: LoggedRun, beat: Callable[[], None]) -> tuple[dict[int, Row], list[str]]:
    """The rows of one file, and what wandb's reader said of it (incomplete, damaged, no such file).

    Raises:
        wandb.errors.WandbCoreNotAvailableError: this install of wandb has no program for this machine.
    """
    from wandb.util import get_core_path

    command = [
        get_core_path(),
        "leet",
        "inspect",
        "-json",
        "-no-observability",
        "-run-file",
        str(file),
        str(file.parent),
    ]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        rows = rows_between(_history(process.stdout, run.id, beat), run.start, run.end)
        process.wait()
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").splitlines()
    return rows, list(dict.fromkeys(line.removeprefix("wandb leet inspect: ") for line in lines if line.strip()))


def _history(lines: Iterable[bytes], run_id: str, beat: Callable[[], None]) -> Iterator[Mapping[str, Any]]:
    """The history records of the reader's output; those of a run with another id are not this run's."""
    ours = True
    for line in lines:
        if b"history" not in line and b"run_id" not in line:
            continue
        try:
            record = load_json(line)
        except ValueError:
            continue
        if record.get("type") == "run":
            ours = record.get("run", {}).get("run_id") == run_id
        elif record.get("type") == "history" and ours:
            beat()
            step = record["history"].get("step", {}).get("num", 0)
            yield {"_step": step, **record["history"].get("item", {})}
