"""Analyses the metric history of a run's stages: the W&B stage analysis (L9, A3, A4).

Output: a JSON file and one PNG a plot. Every number comes from the history that was found; a metric that a stage does
not log stays null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.evidence.metrics.held_out_gap import widening_gap
from tinyworlds_gate.evidence.metrics.history import (
    CODEBOOK,
    ENTROPY,
    HELD_OUT_LOSS,
    LEARNING_RATE,
    LOSS,
    UNIQUE,
    History,
    first_and_last_tenth,
)
from tinyworlds_gate.evidence.metrics.inputs import StageInput
from tinyworlds_gate.evidence.metrics.sources import ORDERS, SOURCE_NAMES, Found, find_histories
from tinyworlds_gate.evidence.metrics.wandb_reader import Patience
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.owned import owned_folder

SCHEMA = 1
NO_SOURCE = "none"


@dataclass(frozen=True)
class StageAnalysis:
    """What one stage's history says. Losses are the stage's own training loss; rates are per update."""

    stage: str
    sentence: str
    source: str
    wandb_runs: tuple[str, ...]
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
    held_out_losses: int
    """Number of updates with a held-out loss; the next three are null where there is none."""
    held_out_loss_last: float | None
    held_out_loss_min: float | None
    held_out_min_step: int | None
    advice: str | None
    """A sentence where the held-out loss rises while the training loss falls."""


@dataclass(frozen=True)
class SourceRefused:
    """A source that was not used for some stages, and why."""

    source: str
    stages: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class WandbAnalysis:
    """The whole analysis: PASS, INVALID (a stage's history is missing or not whole) or NOT-RUN (nothing was trained).

    `source` names the sources that were used (`api`, `local`, `offline`, several joined by a comma, or `none`);
    `not_used` says of every source that was tried before why it was not.
    """

    verdict: str
    reason: str
    source: str
    asked_source: str
    run: str
    per_stage: tuple[StageAnalysis, ...] = ()
    plots: tuple[str, ...] = ()
    not_used: tuple[SourceRefused, ...] = ()

    def to_json(self) -> str:
        """The analysis as JSON text, versioned by `schema`; never NaN."""
        data = {"schema": SCHEMA, "kind": "wandb-analysis", **asdict(self), "notes": list(self.notes)}
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def notes(self) -> tuple[str, ...]:
        """Why earlier sources were not used, a sentence each."""
        return tuple(
            f"{SOURCE_NAMES[one.source]} was not used for {_listed(one.stages)}: {one.reason.rstrip('.')}."
            for one in self.not_used
        )

    def event(self, json_path: str | None) -> dict[str, Any]:
        """The fields of the journal's `wandb_analysis` event."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "source": self.source,
            "sources": {one.stage: {"source": one.source, "wandb_runs": one.wandb_runs} for one in self.per_stage},
            "not_used": [asdict(one) for one in self.not_used],
            "json": json_path,
            "plots": list(self.plots),
        }


def analyse(
    layout: RunLayout,
    timestamp: str,
    order: str,
    inputs: Sequence[StageInput],
    environment: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> WandbAnalysis:
    """Find and analyse the stages' histories, write the JSON and the plots, and return the analysis (L9).

    Args:
        layout: the run; artifacts go to its project's `docs/action/`.
        timestamp: of the run, `YYYY_MM_DD_HH_MM_SS`; it names the artifacts.
        order: the value of `--wandb-source`, one of `ORDERS`.
        inputs: the stages that must have a history.

    Raises:
        ValueError: `order` is none of `ORDERS`.
        OSError: `docs/action/` cannot be written.
    """
    if order not in ORDERS:
        raise ValueError(f"W&B source {order!r} is unknown; allowed: {', '.join(ORDERS)}")
    found = find_histories(inputs, order, layout, environment, patience or Patience())
    analysis = _analysis(layout, timestamp, order, found)
    atomic_write(analysis_path(layout, timestamp), analysis.to_json())
    return analysis


def analysis_path(layout: RunLayout, timestamp: str) -> Path:
    """Where A3's JSON of a run lies."""
    return layout.actions / f"wandb-analysis-{timestamp}.json"


def _analysis(layout: RunLayout, timestamp: str, order: str, found: Sequence[Found]) -> WandbAnalysis:
    if not found:
        reason = "No stage was trained in this run, and no history of a given checkpoint was found."
        if order == "api_only":
            reason += " --wandb-source api_only was given, and nothing could be read from W&B."
        return WandbAnalysis("INVALID" if order == "api_only" else "NOT-RUN", reason, NO_SOURCE, order, layout.run)
    from tinyworlds_gate.evidence.metrics.plots import draw_stage

    stages: list[StageAnalysis] = []
    plots: list[str] = []
    for one in found:
        if one.history is not None and one.source is not None:
            stages.append(analyse_stage(one.history, layout.relative(one.history.path), one.source, one.wandb_runs))
            if one.history.points(LOSS)[1]:
                folder = owned_folder(layout.project_root, layout.plots(timestamp))
                plots += [layout.relative(plot) for plot in draw_stage(one.history, folder)]
    problems = [f"{one.stage}: {one.problem}" for one in found if one.problem]
    sources = ", ".join(dict.fromkeys(one.source for one in stages)) or NO_SOURCE
    return WandbAnalysis(
        "INVALID" if problems else "PASS",
        _invalid(problems, order) if problems else _read(stages),
        sources,
        order,
        layout.run,
        tuple(stages),
        tuple(plots),
        _not_used(found),
    )


def _read(stages: Sequence[StageAnalysis]) -> str:
    by_source: dict[str, list[str]] = {}
    for one in stages:
        by_source.setdefault(one.source, []).append(one.stage)
    sources = "; ".join(f"{_listed(names)} from {SOURCE_NAMES[source]}" for source, names in by_source.items())
    return f"The history of {len(stages)} stage{'s' if len(stages) > 1 else ''} was read and plotted: {sources}."


def _invalid(problems: Sequence[str], order: str) -> str:
    fix = (
        " --wandb-source api_only was given; api_first and local_only look on this machine too."
        if order == "api_only"
        else ""
    )
    return f"The history is incomplete. {'. '.join(problems)}.{fix}"


def _not_used(found: Sequence[Found]) -> tuple[SourceRefused, ...]:
    """The refused sources, one entry for all stages of the same reason."""
    stages: dict[tuple[str, str], list[str]] = {}
    for one in found:
        for refused in one.refused:
            stages.setdefault((refused.source, refused.problem or ""), []).append(one.stage)
    return tuple(SourceRefused(source, tuple(names), reason) for (source, reason), names in stages.items())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def analyse_stage(history: History, shown_path: str, source: str, wandb_runs: tuple[str, ...]) -> StageAnalysis:
    """Numbers and one plain sentence for a stage."""
    steps, losses = history.points(LOSS)
    first, last = first_and_last_tenth(losses)
    not_finite = sum(value is not None and not math.isfinite(value) for value in history.columns.get(LOSS, ()))
    rates = history.points(LEARNING_RATE)[1]
    held_out_steps, held_out = history.points(HELD_OUT_LOSS)
    gap = widening_gap(history)
    return StageAnalysis(
        stage=history.stage,
        sentence=_sentence(history, losses, not_finite),
        source=source,
        wandb_runs=wandb_runs,
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
        held_out_losses=len(held_out),
        held_out_loss_last=held_out[-1] if held_out else None,
        held_out_loss_min=min(held_out, default=None),
        held_out_min_step=held_out_steps[held_out.index(min(held_out))] if held_out else None,
        advice=gap.sentence() if gap else None,
    )


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
