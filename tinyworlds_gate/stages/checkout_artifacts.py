"""What a chunk of a checkout left: evidence as in ``chunk_artifacts.py``, explained by the hazards of checkouts.

Each sentence names the finding, the hazard of docs/external-checkouts.md that explains it, and a fix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tinyworlds_gate.checkpoints.layout import folder_name, list_checkpoints
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, gather_artifacts
from tinyworlds_gate.stages.chunk_history import ChunkHistory, read_chunk_history
from tinyworlds_gate.targets.arguments import draws_picture
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import own_stage_name

FEWEST_ROWS = 2
RATE_ABOVE = 1.01
"""A logged learning rate may exceed the configured peak by this factor, because it is rounded."""
RATE_BELOW = 0.5
"""The highest rate of a chunk from update 0 is at least this part of the configured peak."""
ANNEALED = 0.1
"""A chunk's last rate below this part of its highest: the schedule has come to its end."""


def adopt_checkpoints(target: Target, layout: RunLayout, stage: str) -> list[Path]:
    """Give the checkpoints of a fork that names or places them otherwise the contract's names, in this run's folder."""
    contract = "{stage}/checkpoints/{stage}_step_{step}"
    own = own_stage_name(target, stage)
    template = target.layout.checkpoint
    if own == stage and template == contract:
        return []
    moved = []
    before, after = template.format(stage=own, step="\0").split("\0")[:2]
    for found in sorted(layout.root.glob(template.format(stage=own, step="*"))):
        name = found.relative_to(layout.root).as_posix()
        step = name[len(before) : len(name) - len(after)]
        if step.isdecimal() and found.is_dir():
            place = layout.checkpoints(stage) / folder_name(stage, int(step))
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                moved.append(found.rename(place))
    return moved


def visualizations_of(target: Target, layout: RunLayout, stage: str) -> Path:
    """Where the target draws a stage's pictures."""
    return layout.root / target.layout.visualizations.format(stage=own_stage_name(target, stage))


def gather_checkout_evidence(
    target: Target,
    layout: RunLayout,
    stage: str,
    *,
    start_update: int,
    end_update: int,
    target_updates: int,
    learning_rate: float,
    log_interval: int,
    nproc: int,
    pictures_before: Mapping[Path, int],
    history_problem: str | None,
) -> ChunkEvidence:
    """Read what the chunk over the updates ``[start_update, end_update)`` left and name every fault (S4, M1–M3, P1).

    Args:
        target_updates: where the stage ends; a schedule that ends with the chunk before it anneals anew (hazard 10).
        learning_rate: the peak that the command line set.
        log_interval: as the command line set it; a checkout draws where it divides the step (hazard 12).
        history_problem: what was wrong when the W&B files were read.
    """
    adopt_checkpoints(target, layout, stage)
    history = read_chunk_history(layout.history(stage), start_update, end_update)
    missing = _history_problem(history, start_update, end_update, log_interval, history_problem)
    evidence = gather_artifacts(
        layout,
        stage,
        end_update=end_update,
        history=history,
        history_problem=missing,
        visualizations=visualizations_of(target, layout, stage),
        pictures_before=pictures_before,
        no_picture=no_picture(target, stage, start_update, end_update, log_interval),
    )
    explained = _explained(evidence.problems, layout, stage, end_update, nproc)
    channels = {
        name: {**channel, "reason": explained.get(channel["reason"], channel["reason"])}
        for name, channel in evidence.channels.items()
    }
    problems = [explained.get(problem, problem) for problem in evidence.problems]
    notes = [*_rate_notes(history, learning_rate, start_update), *_annealing_notes(history, end_update, target_updates)]
    return replace(evidence, problems=tuple(problems), channels=channels, notes=tuple(notes))


def no_picture(target: Target, stage: str, start: int, end: int, log_interval: int) -> str | None:
    """Why a checkout draws no picture in the updates ``[start, end)`` (hazard 12); None if it draws one."""
    final = target.reading(f"draws_last_update {stage}")
    if draws_picture(start, end, log_interval) or (final is not None and final.value):
        return None
    where = f" ({final.place})" if final is not None else ""
    return (
        f"this checkout draws pictures where log_interval ({log_interval}) divides the step, which is none of the "
        f"updates {start} to {end - 1}; its final save draws none{where}"
    )


def _history_problem(history: ChunkHistory, start: int, end: int, log_interval: int, missing: str | None) -> str | None:
    """A checkout may log fewer rows than updates; it must have logged up to the chunk's end."""
    why = f" ({missing})" if missing else ""
    if len(history.steps) < min(FEWEST_ROWS, end - start):
        rows = "no row" if not history.steps else f"only the row of update {history.steps[0]}"
        return f"the stage's W&B files hold {rows} of the updates {start} to {end - 1}{why}"
    newest = max(history.steps)
    if newest < end - 1 - max(1, log_interval):
        return f"the stage's W&B files stop at update {newest}, the chunk was to end with update {end - 1}{why}"
    return None


def _explained(problems: Sequence[str], layout: RunLayout, stage: str, end_update: int, nproc: int) -> dict[str, str]:
    """A problem → the same with the hazard that it fits; only those that fit one."""
    found = [step for step, _ in list_checkpoints(layout.checkpoints(stage), stage)]
    expected, explained = end_update - 1, dict[str, str]()
    for problem in problems:
        if problem.startswith("no checkpoint ") and not found:
            explained[problem] = f"{problem}: the stage failed before it saved anything, whatever its exit code is"
        elif problem.startswith("no checkpoint ") and found == [0] and expected > 0:
            explained[problem] = (
                f"{problem}: only step 0 was saved, so the stage died after it, whatever its exit code is (without W&B "
                "such a stage dies there: hazard 4)"
            )
        elif problem.startswith("no checkpoint "):
            newest = max(found)
            explained[problem] = (
                f"{problem}: the newest is of step {newest}, so the last {expected - newest} updates are lost (saved "
                "only where log_interval divides the step: hazard 5). A fork without a final save is described by "
                "`capabilities: {saves_last_update: false}` in a --target-file"
            )
        elif nproc > 1 and ("empty" in problem or "holds 0 tensors" in problem or "no parameter" in problem):
            explained[problem] = (
                f"{problem}. If every rank of this checkout writes the same path, the empty state of another rank "
                "replaced that of rank 0 (hazard 2). Remove `saves_on_one_rank: true` from the --target-file, so that "
                "each rank gets its own folder; or use --nproc-per-node 1"
            )
    return explained


def _rate_notes(history: ChunkHistory, asked: float, start: int) -> list[str]:
    """P1: whether the rates in the history fit the configured peak; the schedule is the checkout's own."""
    rates = [rate for rate in history.learning_rates if math.isfinite(rate)]
    if not rates:
        return []
    highest = max(rates)
    if highest > asked * RATE_ABOVE or (start == 0 and highest < asked * RATE_BELOW):
        return [
            f"the learning rate of update {history.steps[0]} on rose to {highest:.6g}, but {asked:.6g} was asked for"
        ]
    return []


def _annealing_notes(history: ChunkHistory, end: int, target: int) -> list[str]:
    """Hazard 10, by what the history shows: the schedule came to its end with the chunk, not with the stage."""
    rates = [rate for rate in history.learning_rates if math.isfinite(rate)]
    if end >= target or not rates or rates[-1] > ANNEALED * max(rates):
        return []
    return [
        f"the schedule ended with this chunk (learning rate {rates[-1]:.3g} at update {history.steps[-1]}, highest "
        f"{max(rates):.3g}), not with the stage's target of {target} updates: the next chunk anneals anew (hazard 10)"
    ]
