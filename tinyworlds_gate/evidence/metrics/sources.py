"""Find a stage's history: in W&B's API, the run's files in `Logs/`, or the run's own `.wandb` files (L9).

The first source that has every update of the stage is used; for each source before it the reason is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.evidence.metrics.history import History, history_of_rows, write_history
from tinyworlds_gate.evidence.metrics.inputs import StageInput, history_problem, merge_rows
from tinyworlds_gate.evidence.metrics.local import read_history
from tinyworlds_gate.evidence.metrics.wandb_reader import Answered, Patience, WandbSource, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun
from tinyworlds_gate.reference.training.wandb_mode import restriction
from tinyworlds_gate.run.layout import RunLayout

API, LOCAL, OFFLINE = "api", "local", "offline"
SOURCE_NAMES = {API: "W&B's API", LOCAL: "Logs/", OFFLINE: "the run's own .wandb files"}
ORDERS = {"api_first": (API, LOCAL, OFFLINE), "api_only": (API,), "local_only": (LOCAL, OFFLINE)}
"""`--wandb-source` → what is tried, in this order."""


@dataclass(frozen=True)
class Try:
    """What one source gave for one stage; ``problem`` is why it cannot be used (the end of a sentence)."""

    source: str
    history: History | None
    problem: str | None
    wandb_runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """One stage's history and where it is from; `refused` are the sources before it.

    `problem` is set when no source has the complete stage; the history is then the longest one, or None.
    """

    stage: str
    source: str | None
    history: History | None
    refused: tuple[Try, ...] = ()
    wandb_runs: tuple[str, ...] = ()
    problem: str | None = None


def find_histories(
    inputs: Sequence[StageInput], order: str, layout: RunLayout, environment: Mapping[str, str], patience: Patience
) -> list[Found]:
    """Return each stage's history from the first source of the order that has all of it.

    Each source is queried once, for the stages that are still open.
    """
    tries: dict[str, list[Try]] = {one.stage: [] for one in inputs}
    for source in ORDERS[order]:
        open_stages = [one for one in inputs if all(was.problem is not None for was in tries[one.stage])]
        for made in _ask(source, open_stages, layout, environment, patience):
            tries[made[0]].append(made[1])
    return [choose(one.stage, tries[one.stage]) for one in inputs]


def choose(stage: str, tries: Sequence[Try]) -> Found:
    """Return the first try without a problem; else the longest history, with the problem of every source."""
    for number, made in enumerate(tries):
        if made.problem is None:
            return Found(stage, made.source, made.history, tuple(tries[:number]), made.wandb_runs)
    refused = tuple(tries)
    problem = "; ".join(f"{SOURCE_NAMES[one.source]}: {one.problem}" for one in refused)
    longest = max(tries, key=lambda made: len(made.history.steps) if made.history else -1, default=None)
    if longest is None or longest.history is None:
        return Found(stage, None, None, refused, (), problem)
    return Found(stage, longest.source, longest.history, refused, longest.wandb_runs, problem)


def _ask(
    source: str, inputs: Sequence[StageInput], layout: RunLayout, environment: Mapping[str, str], patience: Patience
) -> list[tuple[str, Try]]:
    match source:
        case "local":
            return [(one.stage, _local(one, layout)) for one in inputs]
        case "api":
            why_not = _offline_on_purpose(environment, layout.project_root)
            reader: WandbSource = "api"
        case _:
            why_not, reader = None, "offline"
    runs = [run for one in inputs for run in one.logged]
    answered = Answered(problem=why_not) if why_not else ask(reader, runs, layout, patience)
    return [(one.stage, _logged(source, one, answered, layout)) for one in inputs]


def _local(stage_input: StageInput, layout: RunLayout) -> Try:
    shown = layout.relative(stage_input.local)
    if not stage_input.local.is_file():
        return Try(LOCAL, None, f"{shown} is missing")
    try:
        history = read_history(stage_input.stage, stage_input.local)
    except OSError as error:
        return Try(LOCAL, None, f"{shown} cannot be read ({error.strerror})")
    problem = history_problem(history, stage_input.updates)
    return Try(LOCAL, history, f"{shown} {problem}" if problem else None)


def _logged(source: str, stage_input: StageInput, answered: Answered, layout: RunLayout) -> Try:
    """Return the stage's W&B runs as one history, which is also written as a CSV in the run's folder."""
    if not stage_input.logged:
        return Try(source, None, "no chunk logged to W&B (use_wandb is false, or WANDB_MODE=disabled)")
    rows = merge_rows(stage_input, answered.runs)
    problems = [
        f"{_name(run, answered)}: {why}" for run in stage_input.logged if (why := answered.problem_with(run.id))
    ]
    if answered.problem is not None and not answered.runs:
        problems = [answered.problem]
    if not rows:
        return Try(source, None, _short(problems) or "no row of this stage")
    path = layout.root / "wandb_history" / f"{stage_input.stage}_history_{source}.csv"
    try:
        write_history(path, rows)
    except OSError as error:
        return Try(source, None, f"{layout.relative(path)} cannot be written ({error.strerror})")
    history = history_of_rows(stage_input.stage, path, rows)
    problem = history_problem(history, stage_input.updates)
    names = tuple(answered.runs[run.id].path for run in stage_input.logged if run.id in answered.runs)
    return Try(source, history, f"{problem} ({_short(problems)})" if problem and problems else problem, names)


def _name(run: LoggedRun, answered: Answered) -> str:
    answer = answered.runs.get(run.id)
    return answer.path if answer is not None else f"{run.project}/{run.id}"


def _short(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - 2} more" if len(sentences) > 2 else ""
    return "; ".join(sentences[:2]) + more


def _offline_on_purpose(environment: Mapping[str, str], project_root: Path) -> str | None:
    found = restriction(environment, project_root)
    if found is None:
        return None
    mode, source = found
    what = f"{source} is set" if "=" in source else f"W&B is {mode} by {source}"
    return f"{what}, so no server is contacted"
