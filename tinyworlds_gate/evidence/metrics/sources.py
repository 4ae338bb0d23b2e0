"""Which source tells a stage's history: W&B's API, the run's files in `Logs/`, or the run's own `.wandb` files (L9).

The first source that has every update of the stage is used; of those that have not, the reasons are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyworlds_gate.evidence.metrics.history import History, history_of_rows, write_history
from tinyworlds_gate.evidence.metrics.local import read_history
from tinyworlds_gate.evidence.metrics.wandb_reader import Answered, Patience, WandbSource, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun
from tinyworlds_gate.evidence.metrics.wanted import Sought, merged, problem_of
from tinyworlds_gate.run.layout import RunLayout

API, LOCAL, OFFLINE = "api", "local", "offline"
SOURCE_NAMES = {API: "W&B's API", LOCAL: "Logs/", OFFLINE: "the run's own .wandb files"}
ORDERS = {"api_first": (API, LOCAL, OFFLINE), "api_only": (API,), "local_only": (LOCAL, OFFLINE)}
"""`--wandb-source` → what is tried, in this order."""


@dataclass(frozen=True)
class Refused:
    """A source that was not used, and why (the end of a sentence)."""

    source: str
    reason: str


@dataclass(frozen=True)
class Found:
    """One stage's history and where it is from; `refused` are the sources before it.

    `problem` is set when no source has the whole stage; the history is then the longest that there is, or None.
    """

    stage: str
    source: str | None
    history: History | None
    refused: tuple[Refused, ...] = ()
    wandb_runs: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Try:
    """What one source gave for one stage."""

    source: str
    history: History | None
    problem: str | None
    wandb_runs: tuple[str, ...] = ()


def find_histories(
    sought: Sequence[Sought], asked: str, layout: RunLayout, environment: Mapping[str, str], patience: Patience
) -> list[Found]:
    """Each stage's history from the first of the asked sources that has it whole.

    Each source is asked once, for the stages that still have none.
    """
    tries: dict[str, list[Try]] = {one.stage: [] for one in sought}
    for source in ORDERS[asked]:
        open_stages = [one for one in sought if all(was.problem is not None for was in tries[one.stage])]
        for made in _ask(source, open_stages, layout, environment, patience):
            tries[made[0]].append(made[1])
    return [choose(one.stage, tries[one.stage]) for one in sought]


def choose(stage: str, tries: Sequence[Try]) -> Found:
    """The first try without a problem; else the longest history, with what is wrong with every source."""
    for number, made in enumerate(tries):
        if made.problem is None:
            refused = tuple(Refused(was.source, was.problem or "") for was in tries[:number])
            return Found(stage, made.source, made.history, refused, made.wandb_runs)
    refused = tuple(Refused(was.source, was.problem or "") for was in tries)
    problem = "; ".join(f"{SOURCE_NAMES[one.source]}: {one.reason}" for one in refused)
    longest = max(tries, key=lambda made: len(made.history.steps) if made.history else -1, default=None)
    if longest is None or longest.history is None:
        return Found(stage, None, None, refused, (), problem)
    return Found(stage, longest.source, longest.history, refused, longest.wandb_runs, problem)


def _ask(
    source: str, sought: Sequence[Sought], layout: RunLayout, environment: Mapping[str, str], patience: Patience
) -> list[tuple[str, Try]]:
    match source:
        case "local":
            return [(one.stage, _local(one, layout)) for one in sought]
        case "api":
            why_not = _offline_on_purpose(environment)
            reader: WandbSource = "api"
        case _:
            why_not, reader = None, "offline"
    runs = [run for one in sought for run in one.logged]
    answered = Answered(problem=why_not) if why_not else ask(reader, runs, layout, patience)
    return [(one.stage, _logged(source, one, answered, layout)) for one in sought]


def _local(sought: Sought, layout: RunLayout) -> Try:
    shown = layout.relative(sought.local)
    if not sought.local.is_file():
        return Try(LOCAL, None, f"{shown} is missing")
    try:
        history = read_history(sought.stage, sought.local)
    except OSError as error:
        return Try(LOCAL, None, f"{shown} cannot be read ({error.strerror})")
    problem = problem_of(history, sought.updates)
    return Try(LOCAL, history, f"{shown} {problem}" if problem else None)


def _logged(source: str, sought: Sought, answered: Answered, layout: RunLayout) -> Try:
    """The stage's W&B runs as one history, kept as a CSV beside the run so that a reader can look at it."""
    if not sought.logged:
        return Try(source, None, "no chunk logged to W&B (use_wandb is false, or WANDB_MODE=disabled)")
    rows = merged(sought, answered.runs)
    told = [f"{_name(run, answered)}: {why}" for run in sought.logged if (why := answered.problem_with(run.id))]
    if answered.problem is not None and not answered.runs:
        told = [answered.problem]
    if not rows:
        return Try(source, None, _short(told) or "no row of this stage")
    path = layout.root / "wandb_history" / f"{sought.stage}_history_{source}.csv"
    try:
        write_history(path, rows)
    except OSError as error:
        return Try(source, None, f"{layout.relative(path)} cannot be written ({error.strerror})")
    history = history_of_rows(sought.stage, path, rows)
    problem = problem_of(history, sought.updates)
    names = tuple(answered.runs[run.id].path for run in sought.logged if run.id in answered.runs)
    return Try(source, history, f"{problem} ({_short(told)})" if problem and told else problem, names)


def _name(run: LoggedRun, answered: Answered) -> str:
    answer = answered.runs.get(run.id)
    return answer.path if answer is not None else f"{run.project}/{run.id}"


def _short(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - 2} more" if len(sentences) > 2 else ""
    return "; ".join(sentences[:2]) + more


def _offline_on_purpose(environment: Mapping[str, str]) -> str | None:
    mode = environment.get("WANDB_MODE", "")
    return f"WANDB_MODE={mode} is set, so no server is asked" if mode in ("offline", "dryrun", "disabled") else None
