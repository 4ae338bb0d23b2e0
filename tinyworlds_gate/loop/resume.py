"""The state of a resumed run from its journal, so that the loop continues where the run was killed (pure, H7)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.run.attempts import attempt_of
from tinyworlds_gate.run.hash_chain import require_intact
from tinyworlds_gate.run.installation import TYPED_AGAIN
from tinyworlds_gate.run.journal import Event, events_of, inspect_journal, last_event
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.timestamps import is_plain_stamp

RESUMABLE_OPTIONS = ("resume_run", "project_root", "node_rank", "rdzv_endpoint", "rdzv_id")
"""Options that name the run and where its nodes meet now; all others come from the run itself."""

SHOWN_CHANGES = 5


@dataclass(frozen=True)
class Retraining:
    """One retraining of dynamics after a failed gate (T5): its plan, and the events of its training."""

    plan: Event
    events: tuple[Event, ...] = ()

    @property
    def finished(self) -> Event | None:
        """Its `stage_finished`."""
        return last_event(self.events, "stage_finished")


@dataclass(frozen=True)
class JudgedAttempt:
    """One attempt at the inference gate, or the final verdict of a run that retried, that came to a verdict."""

    finished: Event
    verdict: Event


@dataclass(frozen=True)
class RunSoFar:
    """The events of the run up to now; none for a new run."""

    events: Sequence[Event] = field(default_factory=tuple)

    @property
    def chunks_started(self) -> int:
        """The highest number of a chunk."""
        return max((int(event["chunk"]) for event in events_of(self.events, "chunk_started")), default=0)

    @property
    def dataset(self) -> Event | None:
        """The first `dataset_ready`: what everything was trained on."""
        return next(iter(events_of(self.events, "dataset_ready")), None)

    def training(self, stage: str) -> list[Event]:
        """The events of a stage's planned training."""
        planned = self.events[: self._retrains_from()] if stage == "dynamics" else self.events
        return [event for event in planned if event.get("stage") == stage]

    @property
    def retrainings(self) -> list[Retraining]:
        """The retrainings of dynamics, in order."""
        found: list[Retraining] = []
        for event in self.events[self._retrains_from() :]:
            if event["event"] == "dynamics_retrain":
                found.append(Retraining(event))
            elif event.get("stage") == "dynamics":
                found[-1] = Retraining(found[-1].plan, (*found[-1].events, event))
        return found

    @property
    def attempts(self) -> list[JudgedAttempt]:
        """The attempts that were judged, in order; one that was interrupted is made again."""
        finished = {attempt_of(event): event for event in events_of(self.events, "inference_finished")}
        verdicts = {attempt_of(event): event for event in events_of(self.events, "gate_verdict")}
        return [JudgedAttempt(finished[key], verdict) for key, verdict in verdicts.items()]

    def _retrains_from(self) -> int:
        numbers = (number for number, event in enumerate(self.events) if event["event"] == "dynamics_retrain")
        return next(numbers, len(self.events))


def settings_after(settings: Settings, events: Iterable[Event]) -> Settings:
    """The settings with every change that the journal's retunes and retrainings made (P1)."""
    for event in events:
        if event["event"] == "retune" and event["proceed"] and event["changes"]:
            changes = {key: pair[1] for key, pair in event["changes"].items()}
            settings = settings.with_retune(event["stage"], changes, f"retune {event['id']}")
        elif event["event"] == "dynamics_retrain":
            settings = with_retraining(settings, event)
    return settings


def with_retraining(settings: Settings, plan: Event) -> Settings:
    """The settings of a retraining of dynamics (`dynamics_retrain`)."""
    changes = {"learning_rate": plan["learning_rate"], "n_updates": plan["to_update"]}
    return settings.with_retune("dynamics", changes, f"retry {plan['retry'] + 1} (T5)")


@dataclass(frozen=True)
class ResumedRun:
    """The run that `--resume-run` names."""

    folder: Path
    events: list[Event]

    @property
    def started(self) -> Event:
        """The first `run_started`."""
        return self.events[0]

    @property
    def options(self) -> dict[str, Any]:
        """The options that the run was started with."""
        return dict(self.started.get("options") or {})

    @property
    def profile(self) -> str:
        """The run's own copy of its settings files, so that an edit since changes nothing; else as it was chosen."""
        kept = RunLayout(self.folder.parents[1], self.folder.name).configs
        return str(kept if kept.is_dir() else self.options.get("profile") or self.started["kind"])

    @property
    def settings(self) -> dict[str, Any]:
        """Dotted key → value and source, as they were resolved when it was started; empty when it came not so far."""
        return dict((last_event(self.events, "settings_resolved") or {}).get("settings") or {})

    @property
    def so_far(self) -> RunSoFar:
        """What it did."""
        return RunSoFar(tuple(self.events))

    def require_unfinished(self) -> None:
        """Refuse a run that came to its end.

        Raises:
            GateError: it passed, and its reports were written; nothing is left to do.
        """
        end = last_event(self.events, "run_finished")
        if end is None or end["status"] not in ("passed", "degraded"):
            return
        if any(event["event"] == "report_written" and event["seq"] > end["seq"] for event in self.events):
            raise GateError(
                f"--resume-run {self.folder.name}: this run ended with {end['status']}, nothing is left to do. Write "
                f"its reports again with: tinyworlds-gate report results/{self.folder.name}, or start a new run."
            )

    def require_options(self, given: Mapping[str, Any]) -> None:
        """Refuse options that differ from those of the run, and programs that no person named.

        Raises:
            GateError: a resumed run goes on as it was started.
        """
        for name in TYPED_AGAIN:
            if name in self.options and name not in given:
                flag = "--" + name.replace("_", "-")
                raise GateError(
                    f"--resume-run {self.folder.name} would run programs that its journal names ({flag} "
                    f"{self.options[name]}), and a journal may come from somebody else. If you trust them, type {flag} "
                    "and its value again; otherwise start a new run."
                )
        for name, value in given.items():
            if name in RESUMABLE_OPTIONS:
                continue
            own = self.options.get(name)
            if str(value) != str(own):
                flag = "--" + name.replace("_", "-")
                was = f"was started with {flag} {own}" if name in self.options else f"was started without {flag}"
                raise GateError(
                    f"--resume-run {self.folder.name} {was}, now {flag} {value} is given; a resumed run goes on as it "
                    "was started. Leave the option out, or start a new run."
                )

    def require_settings(self, table: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse settings that differ from those that the run resolved when it was started.

        Raises:
            ConfigError: the run's own copy was edited since, or this machine has other GPUs.
        """
        recorded = last_event(self.events, "settings_resolved")
        if recorded is None:
            return
        changes = changed_settings(recorded["settings"], table)
        if changes:
            more = f"; and {len(changes) - SHOWN_CHANGES} more" if len(changes) > SHOWN_CHANGES else ""
            raise ConfigError(
                f"--resume-run {self.folder.name}: the settings are not those that the run was started with: "
                f"{'; '.join(changes[:SHOWN_CHANGES])}{more}. Put the old values back, or start a new run."
            )


def changed_settings(recorded: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What differs between the settings of a journal and a table of settings, a part of a sentence each."""
    plain = json.loads(json.dumps(now, default=str))
    changes = []
    for key in sorted({*recorded, *plain}):
        old, new = (table[key]["value"] if key in table else "not set" for table in (recorded, plain))
        if old != new:
            source = plain.get(key, {}).get("source", "this version")
            changes.append(f"{key} was {old} and is now {new} ({source})")
    return changes


def find_run(project_root: Path, given: str, base: Path) -> ResumedRun:
    """The run that a person named: its folder (absolute, or relative to ``base`` or the project), or its name.

    Raises:
        GateError: there is no such run in this project, or its journal is damaged or was changed.
    """
    results = (project_root / "results").resolve()
    candidates = [Path(given), base / given, project_root / given, results / given]
    folder = next((path.resolve() for path in candidates if (path / "journal.jsonl").is_file()), None)
    if folder is None:
        known = sorted(path.parent.name for path in results.glob("*/journal.jsonl"))
        listed = f"the runs here are {', '.join(known[-5:])}" if known else "there is no run in this project yet"
        raise GateError(f"--resume-run {given}: no results/<run> folder with a journal.jsonl is there; {listed}.")
    if folder.parent != results:
        raise GateError(
            f"--resume-run {given}: the run lies in {folder.parent}, not in {results}; start pytest in the project of "
            "that run, or name it with --project-root."
        )
    state = inspect_journal(folder / "journal.jsonl")
    require_intact(state, folder / "journal.jsonl")
    events = state.events
    if not events or events[0]["event"] != "run_started":
        raise GateError(f"--resume-run {given}: its journal does not begin with a started run; start a new one.")
    if not is_plain_stamp(events[0].get("timestamp", "none")):
        raise GateError(
            f"--resume-run {given}: its journal has the timestamp {str(events[0]['timestamp'])[:80]!r}, which this "
            "program did not write; start a new one."
        )
    return ResumedRun(folder, events)
