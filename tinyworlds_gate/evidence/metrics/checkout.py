"""Copy the metrics of a checkout's chunk from its offline W&B files to ``Logs/`` (M1)."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.evidence.metrics.history import Row, write_history
from tinyworlds_gate.evidence.metrics.local import read_history
from tinyworlds_gate.evidence.metrics.wandb_file import find_files
from tinyworlds_gate.evidence.metrics.wandb_reader import Patience, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun
from tinyworlds_gate.launch.wandb_run import WandbRun
from tinyworlds_gate.run.layout import RunLayout


def copy_history(layout: RunLayout, stage: str, wandb: WandbRun, updates: tuple[int, int], began: float) -> str | None:
    """Append what the chunk over ``updates`` logged to ``Logs/<stage>_history_<run>.csv``.

    The chunk's W&B run is known by the id that it was given; where a checkout names its runs itself, by the files that
    came up after ``began`` (Unix seconds).

    Returns:
        What is wrong with the files (the end of a sentence), or None.
    """
    start, end = updates
    ids = [wandb.id] if find_files([layout.project_root], wandb.id) else _ids_since(layout.project_root, began)
    runs = [LoggedRun(one, wandb.project, wandb.entity, start, end) for one in ids]
    if not runs:
        return f"no W&B file of this chunk lies under {layout.relative(layout.project_root / 'wandb')}/"
    answered = ask("offline", runs, layout, Patience())
    path, rows = layout.history(stage), dict[int, Row]()
    if path.is_file():
        known = read_history(stage, path)
        names = list(known.columns)
        rows = {
            step: {name: known.columns[name][at] for name in names}
            for at, step in enumerate(known.steps)
            if step < start
        }
    problems = []
    for run in runs:
        answer = answered.runs.get(run.id)
        if answer is not None:
            rows |= answer.rows
        if (problem := answered.problem_with(run.id)) is not None:
            problems.append(problem)
    try:
        write_history(path, dict(sorted(rows.items())))
    except OSError as error:
        return f"{layout.relative(path)} cannot be written ({error.strerror})"
    return "; ".join(dict.fromkeys(problems)) or None


def _ids_since(root: Path, began: float) -> list[str]:
    """The ids of the W&B runs whose files were begun after a moment, oldest first."""
    files = [
        path
        for home in ("wandb", ".wandb")
        for path in (root / home).glob("*run-*/run-*.wandb")
        if path.stat().st_mtime >= began
    ]
    return [path.stem.removeprefix("run-") for path in sorted(files, key=lambda path: path.stat().st_mtime)]
