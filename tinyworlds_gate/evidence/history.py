"""Analyses the metric history of a run's stages: the local form of the W&B stage analysis (L9, A3, A4).

Input: `Logs/<stage>_history_<run>.csv` with W&B's key names, one row an update. Output: a JSON file and
one PNG a plot. Every number comes from the file; a column that a stage does not fill stays null.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tinyworlds_gate.names import STAGES

SCHEMA = 1
SOURCES = ("api_first", "api_only", "local_only")

LOSS = "train/loss"
LEARNING_RATE = "learning_rate/group_0"
CODEBOOK = {"video_tokenizer": "train/codebook_usage", "latent_actions": "latent_actions/codebook_usage"}
ENTROPY = "action_entropy"
UNIQUE = "unique_actions"


@dataclass(frozen=True)
class History:
    """One stage's metrics by update: `columns[name][i]` belongs to `steps[i]`, null where the file has none."""

    stage: str
    path: Path
    steps: tuple[int, ...]
    columns: Mapping[str, tuple[float | None, ...]]
    unreadable_rows: int = 0
    repeated_steps: int = 0

    def points(self, name: str) -> tuple[list[int], list[float]]:
        """The finite values of a column with their updates."""
        pairs = [
            (step, value)
            for step, value in zip(self.steps, self.columns.get(name, ()), strict=False)
            if value is not None and math.isfinite(value)
        ]
        return [step for step, _ in pairs], [value for _, value in pairs]


@dataclass(frozen=True)
class StageAnalysis:
    """What one stage's history says. Losses are the stage's own training loss; rates are per update."""

    stage: str
    sentence: str
    history: str
    rows: int
    first_step: int | None
    last_step: int | None
    loss_first: float | None
    loss_last: float | None
    loss_min: float | None
    loss_first_tenth: float | None
    loss_last_tenth: float | None
    losses_not_finite: int
    learning_rate_max: float | None
    learning_rate_last: float | None
    codebook_usage_last_tenth: float | None
    action_entropy_nats_last_tenth: float | None
    unique_actions_last_tenth: float | None
    unreadable_rows: int
    repeated_steps: int


@dataclass(frozen=True)
class WandbAnalysis:
    """The whole analysis: PASS, INVALID (a history is missing or empty) or NOT-RUN (nothing was trained)."""

    verdict: str
    reason: str
    source: str
    asked_source: str
    run: str
    per_stage: tuple[StageAnalysis, ...] = ()
    plots: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """The analysis as JSON text, versioned by `schema`; never NaN."""
        data = {"schema": SCHEMA, "kind": "wandb-analysis", **asdict(self)}
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def event(self, json_path: str | None) -> dict[str, Any]:
        """The fields of the journal's `wandb_analysis` event."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "source": self.source,
            "json": json_path,
            "plots": list(self.plots),
        }


def local_histories(project_root: Path, run: str, stages: tuple[str, ...] = STAGES) -> dict[str, Path]:
    """Where this run's stages write their histories; the files need not exist."""
    return {stage: project_root / "Logs" / f"{stage}_history_{run}.csv" for stage in stages}


def history_of_checkpoint(project_root: Path, checkpoint: Path) -> Path | None:
    """The history of the run that a checkpoint `results/<run>/<stage>/checkpoints/…` came from, where it exists.

    For `--train-stage none`: what was trained elsewhere can still be analysed, by a path that the user named.
    """
    parts = checkpoint.parts
    at = max((i for i, part in enumerate(parts) if part == "checkpoints"), default=0)
    if at < 2:
        return None
    path = project_root / "Logs" / f"{parts[at - 1]}_history_{parts[at - 2]}.csv"
    return path if path.is_file() else None


def read_history(stage: str, path: Path) -> History:
    """Read one CSV. Unreadable rows (a torn last line) are left out and counted; of a repeated update the last counts.

    Raises:
        OSError: the file cannot be opened.
    """
    rows: dict[int, dict[str, float | None]] = {}
    unreadable = repeated = 0
    names: list[str] = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(line.replace("\0", "") for line in file)
        names = [name for name in reader.fieldnames or [] if name not in ("_step", "_timestamp")]
        for row in reader:
            step = _number(row.get("_step"))
            if step is None or not step.is_integer() or row.get(names[-1] if names else "_step") is None:
                unreadable += 1
                continue
            repeated += int(step) in rows
            rows[int(step)] = {name: _number(row.get(name)) for name in names}
    steps = sorted(rows)
    columns = {name: tuple(rows[step][name] for step in steps) for name in names}
    return History(stage, path, tuple(steps), columns, unreadable, repeated)


def rolling_mean(values: list[float], window: int) -> list[float]:
    """Mean of the last `window` values at each point (fewer at the start)."""
    sums, total = [], 0.0
    for i, value in enumerate(values):
        total += value
        if i >= window:
            total -= values[i - window]
        sums.append(total / min(i + 1, window))
    return sums


def first_and_last_tenth(values: list[float]) -> tuple[list[float], list[float]]:
    """The first and the last tenth of the values, at least one each (empty for no values)."""
    if not values:
        return [], []
    size = max(1, len(values) // 10)
    return values[:size], values[-size:]


def analyse_stage(history: History, shown_path: str) -> StageAnalysis:
    """Numbers and one plain sentence for a stage."""
    steps, losses = history.points(LOSS)
    first, last = first_and_last_tenth(losses)
    not_finite = sum(value is not None and not math.isfinite(value) for value in history.columns.get(LOSS, ()))
    rates = history.points(LEARNING_RATE)[1]
    return StageAnalysis(
        stage=history.stage,
        sentence=_sentence(history, losses, not_finite),
        history=shown_path,
        rows=len(history.steps),
        first_step=steps[0] if steps else None,
        last_step=steps[-1] if steps else None,
        loss_first=losses[0] if losses else None,
        loss_last=losses[-1] if losses else None,
        loss_min=min(losses, default=None),
        loss_first_tenth=_mean(first),
        loss_last_tenth=_mean(last),
        losses_not_finite=not_finite,
        learning_rate_max=max(rates, default=None),
        learning_rate_last=rates[-1] if rates else None,
        codebook_usage_last_tenth=_late_mean(history, CODEBOOK.get(history.stage, "")),
        action_entropy_nats_last_tenth=_late_mean(history, ENTROPY),
        unique_actions_last_tenth=_late_mean(history, UNIQUE),
        unreadable_rows=history.unreadable_rows,
        repeated_steps=history.repeated_steps,
    )


def analyse(
    project_root: Path,
    run: str,
    timestamp: str,
    source: str,
    histories: Mapping[str, Path],
    wandb_run: str | None = None,
) -> WandbAnalysis:
    """Analyse the given stages, write the JSON and the plots, and return the analysis (L9).

    Args:
        project_root: artifacts go to its `docs/action/`.
        timestamp: of the run, `YYYY_MM_DD_HH_MM_SS`; it names the artifacts.
        source: one of `SOURCES`, as asked with `--wandb-source`.
        histories: stage → CSV; the stages that must have one (see `local_histories`).
        wandb_run: the W&B run that the stages logged to online, or None.

    Raises:
        ValueError: `source` is none of `SOURCES`.
        OSError: `docs/action/` cannot be written.
    """
    if source not in SOURCES:
        raise ValueError(f"W&B source {source!r} is unknown; allowed: {', '.join(SOURCES)}")
    paths = artifact_paths(project_root, timestamp)
    analysis = _analyse_local(project_root, run, source, histories, wandb_run, paths["plots"])
    paths["json"].parent.mkdir(parents=True, exist_ok=True)
    paths["json"].write_text(analysis.to_json(), encoding="utf-8")
    return analysis


def artifact_paths(project_root: Path, timestamp: str) -> dict[str, Path]:
    """Where A3's JSON and A4's plots of a run lie."""
    action = project_root / "docs" / "action"
    name = f"wandb-analysis-{timestamp}"
    return {"json": action / f"{name}.json", "plots": action / "plots" / name}


def _analyse_local(
    project_root: Path, run: str, asked: str, histories: Mapping[str, Path], wandb_run: str | None, plots_dir: Path
) -> WandbAnalysis:
    if asked == "api_only":
        why = "no W&B run was recorded for this run" if wandb_run is None else "this version does not read the W&B API"
        reason = f"--wandb-source api_only was given, but {why}. Use --wandb-source api_first or local_only."
        return WandbAnalysis("INVALID", reason, "none", asked, run)
    notes = []
    if asked == "api_first":
        why = "No W&B run was recorded for this run" if wandb_run is None else "This version does not read the W&B API"
        notes.append(f"{why}, so the local history was used.")
    if not histories:
        return WandbAnalysis(
            "NOT-RUN",
            "No stage was trained in this run, and no history of a given checkpoint lies in Logs/.",
            "none",
            asked,
            run,
            notes=tuple(notes),
        )
    from tinyworlds_gate.evidence.plots import draw_stage

    stages: list[StageAnalysis] = []
    plots: list[str] = []
    problems: list[str] = []
    for stage, path in histories.items():
        shown = relative_to_root(path, project_root)
        if not path.is_file():
            problems.append(f"{stage} has no history file ({shown} is missing)")
            continue
        history = read_history(stage, path)
        stages.append(analyse_stage(history, shown))
        if not history.points(LOSS)[1]:
            problems.append(f"{shown} holds no finite loss")
            continue
        plots += [relative_to_root(plot, project_root) for plot in draw_stage(history, plots_dir)]
    reason = (
        f"The history cannot be analysed whole: {'; '.join(problems)}."
        if problems
        else f"The local history of {len(stages)} stage{'s' if len(stages) > 1 else ''} was read and plotted."
    )
    verdict = "INVALID" if problems else "PASS"
    return WandbAnalysis(verdict, reason, "local", asked, run, tuple(stages), tuple(plots), tuple(notes))


def relative_to_root(path: Path, root: Path) -> str:
    """A path as the journal writes it: relative to the project where it lies inside, with forward slashes."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def _sentence(history: History, losses: list[float], not_finite: int) -> str:
    if not losses:
        return "The history holds no finite loss, so nothing can be said about this stage."
    first, last = first_and_last_tenth(losses)
    early, late = sum(first) / len(first), sum(last) / len(last)
    word = "fell" if late < early else "rose" if late > early else "stayed"
    text = f"The loss {word} from {early:.4g} (mean of the first tenth) to {late:.4g} (mean of the last tenth) "
    text += f"over {len(history.steps)} recorded updates."
    if not_finite:
        text += f" {not_finite} loss value(s) were not finite numbers."
    return text


def _late_mean(history: History, name: str) -> float | None:
    return _mean(first_and_last_tenth(history.points(name)[1])[1])


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
