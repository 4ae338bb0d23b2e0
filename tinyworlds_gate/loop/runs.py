"""The runs of a project by their journals, and the unfinished one that `--resume-run unfinished` continues.

`--resume-run unfinished` takes the newest run of the same kind that was started with the same options, and only when
it is unfinished: a run that a later one replaced, or that somebody started with other options, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.resume import RESUMABLE_OPTIONS
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event, last_event, read_journal
from tinyworlds_gate.run.lock import live_holder
from tinyworlds_gate.run.lock_holder import LockHolder

UNFINISHED = "unfinished"
"""The word for `--resume-run`; a folder of this name can be given as `./unfinished`."""
TOLD_RUNS = 3


@dataclass(frozen=True)
class KnownRun:
    """One run of the project. ``unfinished``: why it can be gone on with, None when it came to its end."""

    folder: Path
    started_at: float
    kind: str
    profile: str
    options: Mapping[str, Any]
    status: str
    """As journalled; `running`, or `killed` where the journal stops."""
    sentence: str
    unfinished: str | None
    holder: LockHolder | None = None
    """The live process that runs it."""
    dataset: str | None = None
    """What it trains and measures on; None where it came not so far as to resolve its settings."""

    @property
    def name(self) -> str:
        """Its folder under results/."""
        return self.folder.name

    def was_started_with(self, options: Mapping[str, Any]) -> bool:
        """Whether the run was started with the same options; those that only name a run are ignored."""
        return _compared(self.options) == _compared(options)


@dataclass(frozen=True)
class Choice:
    """The run that `unfinished` means, or None; and the sentences about the choice."""

    run: KnownRun | None
    messages: Sequence[str]


def why_unfinished(events: Sequence[Event]) -> str | None:
    """Why a run can be gone on with, from its journal alone (pure); None when it came to its end.

    A verdict is an end, also a bad one. No end: the journal just stops (a kill), an interruption, a stop by the machine
    in the middle of a step (a full disk), and a verdict whose reports were never written.
    """
    since = _since_last_start(events)
    doing = _open_step(events) or "between two steps"
    end = last_event(since, "run_finished")
    if end is None:
        return f"it was killed {doing}"
    if end.get("status") == "interrupted":
        signal = (last_event(since, "interrupted") or {}).get("signal")
        return f"it was interrupted{f' ({signal})' if signal else ''} {doing}"
    if not any(event["event"] == "report_written" and event["seq"] > end["seq"] for event in since):
        return "it was killed before its reports were written"
    return f"it was stopped {doing}" if _open_step(events) else None


def _since_last_start(events: Sequence[Event]) -> Sequence[Event]:
    return events[max(number for number, event in enumerate(events) if event["event"] == "run_started") :]


def _open_step(events: Iterable[Event]) -> str | None:
    """What was begun and never concluded, as a part of a sentence."""
    doing: str | None = None
    for event in events:
        match event["event"]:
            case "chunk_started":
                doing = f"while {event.get('stage')} trained (chunk {event.get('chunk')})"
            case "dynamics_retrain":
                doing = "before dynamics was retrained"
            case "inference_started":
                doing = f"during inference {attempt_name(*attempt_of(event))}"
            case "stage_finished" | "gate_verdict":
                doing = None
    return doing


def known_runs(project_root: Path) -> tuple[list[KnownRun], list[str]]:
    """The project's runs, newest first, and a sentence for every journal that cannot be read."""
    holder = live_holder(project_root)
    runs, problems = [], []
    for journal in sorted((project_root / "results").glob("*/journal.jsonl")):
        try:
            runs.append(_known_run(journal.parent, read_journal(journal), holder))
        except (GateError, OSError) as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001 - a journal that another program wrote hides no other run
            problems.append(
                f"The journal of {journal.parent.name} has an event that this version cannot read "
                f"({type(error).__name__}: {error}); restore the file from a copy or remove that folder."
            )
    return sorted(runs, key=lambda run: (run.started_at, run.name), reverse=True), problems


def _known_run(folder: Path, events: Sequence[Event], holder: LockHolder | None) -> KnownRun:
    if not events or events[0]["event"] != "run_started":
        raise GateError(f"The journal of {folder.name} does not begin with a started run; remove that folder.")
    first, end = events[0], last_event(_since_last_start(events), "run_finished") or {}
    running = holder if holder is not None and holder.run == folder.name else None
    return KnownRun(
        folder=folder,
        started_at=float(first["time"]),
        kind=str(first.get("kind")),
        profile=str(first.get("profile")),
        options=dict(first.get("options") or {}),
        status="running" if running is not None else str(end.get("status") or "killed"),
        sentence=f"It runs in {running.describe()}." if running is not None else str(end.get("sentence") or ""),
        unfinished=None if running is not None else why_unfinished(events),
        holder=running,
        dataset=_dataset(events),
    )


def _dataset(events: Sequence[Event]) -> str | None:
    settings = (last_event(events, "settings_resolved") or {}).get("settings") or {}
    return (settings.get("training.dataset") or {}).get("value")


def choose_unfinished(runs: Sequence[KnownRun], kind: str | None, options: Mapping[str, Any]) -> Choice:
    """The newest run of this kind with these options when it is unfinished (pure).

    Args:
        runs: newest first.
        kind: smoke or longrun; None where the options name a profile, which says it.

    Raises:
        GateError: that run is going on now.
    """
    alike = [run for run in runs if run.was_started_with(options) and kind in (None, run.kind)]
    newest = alike[0] if alike else None
    if newest is not None and newest.holder is not None:
        raise GateError(
            f"--resume-run {UNFINISHED}: {newest.name} is going on now, in {newest.holder.describe()}. Wait until it "
            "ends."
        )
    chosen = newest if newest is not None and newest.unfinished else None
    if newest is None:
        messages = [f"no earlier run of this kind was started with these options ({_named(options)}): a new one begins"]
    elif chosen is None:
        messages = [f"the newest run like this one, {newest.name}, came to its end ({newest.status}): a new one begins"]
    else:
        messages = [f"{chosen.name} is unfinished ({chosen.unfinished}): going on with it"]
    others = [run for run in runs if run.unfinished and run is not chosen]
    for run in others[:TOLD_RUNS]:
        why = "a later run came after it" if run in alike else f"{run.kind}, started with {_named(run.options)}"
        messages.append(f"left alone: {run.name}, unfinished, {why}; name it with --resume-run to go on with it")
    return Choice(chosen, messages)


def _compared(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if name not in RESUMABLE_OPTIONS}


def _named(options: Mapping[str, Any]) -> str:
    words = [f"--{name.replace('_', '-')} {value}" for name, value in _compared(options).items()]
    return " ".join(words) or "no options"
