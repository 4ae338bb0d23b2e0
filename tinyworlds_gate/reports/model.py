"""Load a run's journal into plain data for the reports; the journal may end after any event."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.requested import inference_requested
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.verdict_words import limit_of, pass_limit
from tinyworlds_gate.names import EVALUATION, FINALS, VERDICTS
from tinyworlds_gate.reference.rollout.mode import ONE_STEP, TEACHER_FORCED, mode
from tinyworlds_gate.reports.requirements import ADDED, REQUIREMENTS
from tinyworlds_gate.run.attempts import attempt_name, attempt_of, final_problems
from tinyworlds_gate.run.hash_chain import JournalState
from tinyworlds_gate.run.journal import Event, inspect_journal, last_event
from tinyworlds_gate.run.owned import read_owned
from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.run.timestamps import is_plain_stamp

HEADLINE = re.compile(r"(?P<verdict>[A-Z-]+)(?: \((?P<scope>[^)]*)\))?(?:, (?P<forced>teacher-forced|one-step))?: ")
"""How the sentence of a run begins: its verdict, and what a run that passed was limited to."""

NOT_STRICT = {
    TEACHER_FORCED: "This is a teacher-forced result, not a strict one: every step started from true frames, so errors "
    "could not add up.",
    ONE_STEP: "This is a one-step result, not a strict one: no generated frame was fed back, so errors could not add "
    "up.",
}
MOST_JSON_BYTES = 64 * 1024**2
"""Of a file that the journal names as evidence; of a longer one the cut JSON is refused."""
SCHEMA = 1
VERDICT_OF_STATUS = {
    "passed": "PASS",
    "failed": "FAIL",
    "degraded": "DEGRADED",
    "invalid": "INVALID",
    "interrupted": "INVALID",
    "partial": "NOT-RUN",
}
WORST_FIRST = ("FAIL", "INVALID", "DEGRADED", "NOT-RUN", "PASS")


@dataclass
class Chunk:
    """A training chunk: its start event and the later events about it, None where the journal has none."""

    started: Event
    finished: Event | None = None
    gate: Event | None = None
    retune: Event | None = None
    probe: Event | None = None

    @property
    def number(self) -> int:
        return int(self.started.get("chunk") or 0)

    @property
    def stage(self) -> str:
        return str(self.started.get("stage"))


@dataclass
class Attempt:
    """One attempt at the inference gate, or a final verdict (draw 2, or 3 on the evaluation set).

    `retrain` is the dynamics retraining before it, if any.
    """

    number: int
    draw: int = 1
    started: Event | None = None
    finished: Event | None = None
    verdict: Event | None = None
    retrain: Event | None = None
    drawn: Event | None = None
    """The picture of its verdict; None in journals of older versions, or when the harness was killed before it."""

    @property
    def measures(self) -> dict[str, Any]:
        return (self.verdict or {}).get("measures") or {}

    @property
    def is_final(self) -> bool:
        return self.draw in FINALS

    @property
    def on_evaluation_set(self) -> bool:
        return self.draw == EVALUATION

    @property
    def name(self) -> str:
        return attempt_name(self.number, self.draw)


@dataclass(frozen=True)
class RequirementRow:
    """One line of the requirement table; the verdict is the worst of the tests that carry the ID."""

    id: str
    what: str
    verdict: str
    reason: str
    tests: tuple[str, ...] = ()
    evidence: str | None = None


@dataclass
class RunRecord:
    """Everything that the reports show about a run."""

    project_root: Path
    folder: Path
    events: list[Event]
    started: Event
    settings: Event | None = None
    dataset: Event | None = None
    config_checks: list[dict[str, Any]] = field(default_factory=list)
    ended_processes: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    stages: dict[str, Event] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    git: Event | None = None
    wandb: Event | None = None
    interrupted: Event | None = None
    finished: Event | None = None
    judged: dict[str, Event] = field(default_factory=dict)
    """Requirement → verdict, reason and evidence as judged now; the recorded rows of the others stay."""
    journal: JournalState | None = None
    """The journal as it was read, with its hash chain; None for a record of events alone."""
    disputed: str | None = None
    """What the run's files say against its recorded verdict, as a sentence; None: nothing, or they were not judged."""
    unconfirmed: str | None = None
    """What of the verdict could not be judged again, as a sentence; None: nothing, or nobody tried."""

    @property
    def run(self) -> str:
        return str(self.started.get("run") or self.folder.name)

    @property
    def timestamp(self) -> str:
        return str(self.started["timestamp"])

    @property
    def options(self) -> dict[str, Any]:
        return self.started.get("options") or {}

    @property
    def last_attempt(self) -> Attempt | None:
        judged = [attempt for attempt in self.attempts if attempt.verdict is not None]
        return judged[-1] if judged else None

    @property
    def measures(self) -> dict[str, Any]:
        return self.last_attempt.measures if self.last_attempt else {}

    @property
    def max_mse(self) -> float | None:
        return gate_limit(self.last_attempt.verdict if self.last_attempt else None, self.settings)

    @property
    def teacher_forced(self) -> bool:
        return bool(self.measures.get("teacher_forced"))

    @property
    def not_strict(self) -> str | None:
        """Why the result of the last attempt is not a strict one; None for a strict rollout, and without any."""
        return NOT_STRICT.get(mode(self.measures)) if self.measures.get("generation_steps") else None

    @property
    def retunes(self) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.retune is not None]

    @property
    def degraded_stages(self) -> dict[str, str]:
        """Stage → the cause, for each stage that fell to a batch of 1 after a retune (H8)."""
        causes = {name: str(event.get("reason")) for name, event in self.stages.items() if event.get("degraded")}
        for chunk in self.retunes:
            change = (chunk.retune or {}).get("changes", {}).get("batch_size_per_gpu")
            if change and change[1] == 1:
                causes[chunk.stage] = str((chunk.retune or {}).get("cause"))
        return causes

    @property
    def status(self) -> str:
        """The recorded status; `unfinished` when the journal ends before the run's end."""
        if self.finished is not None:
            return str(self.finished.get("status"))
        return "interrupted" if self.interrupted is not None else "unfinished"

    @property
    def limit(self) -> str | None:
        """What the pass of the gate is limited to, shown in amber: `loop only`, or `before G8`; None without a limit.

        It follows from the measures and thresholds of the verdict; a profile that judges no model states it in the
        run's sentence.
        """
        stated, last = limit_of(str((self.finished or {}).get("sentence"))), self.last_attempt
        if last is None or last.verdict is None or last.verdict.get("verdict") != "PASS":
            return stated
        return stated or pass_limit(last.measures, last.verdict.get("thresholds"))

    def verdict(self) -> tuple[str, str]:
        """Return the run's verdict and its sentence; a journal that was changed or contradicts itself is INVALID."""
        if self.journal is not None and self.journal.problem is not None:
            return "INVALID", self.journal.problem
        if self.disputed is not None:
            return "INVALID", self.disputed
        if self.finished is None:
            return "INVALID", self._where_it_stopped()
        verdict = VERDICT_OF_STATUS.get(self.status, "INVALID")
        recorded = str(self.finished.get("sentence") or "The run recorded no verdict sentence.")
        sentence = without_verdict(recorded, verdict)
        if self.status == "interrupted" and self.interrupted is not None:
            signal = self.interrupted.get("signal") or "The interruption"
            sentence = f"{sentence} {signal} came {self._doing()}."
        gate = self.last_attempt.verdict if self.last_attempt else None
        if gate is None and verdict in ("PASS", "DEGRADED") and not inference_requested(self.options):
            return verdict, sentence
        if verdict in ("PASS", "DEGRADED") and (gate is None or gate.get("verdict") not in ("PASS", "DEGRADED")):
            shown = "no inference gate verdict" if gate is None else f"a gate verdict of {gate.get('verdict')}"
            return (
                "INVALID",
                f"The journal contradicts itself: it claims {self.status}, but holds {shown}. Its sentence: {sentence}",
            )
        if verdict in ("PASS", "DEGRADED") and (problems := final_problems(self.events)):
            return "INVALID", f"The journal claims {self.status}, but {'; '.join(problems)}. Its sentence: {sentence}"
        broken = [row for row in self.judged.values() if row["verdict"] in ("FAIL", "INVALID")]
        # A file that was deleted since is reported as missing; it says nothing about the run.
        broken = [row for row in broken if row["id"][0] != "A" and row["id"] not in ("L10", "H4")]
        if verdict in ("PASS", "DEGRADED") and broken:
            worst = min((str(row["verdict"]) for row in broken), key=rank)
            shown = "; ".join(f"{row['id']}: {row['reason']}" for row in broken)
            return worst, f"The journal claims {self.status}, but {shown}. Its sentence: {sentence}"
        return verdict, sentence if self.unconfirmed is None else f"{sentence} {self.unconfirmed}"

    def word(self) -> str:
        """Return the run's verdict with what a pass is limited to: `PASS (loop only)`."""
        verdict, _ = self.verdict()
        return f"{verdict} ({self.limit})" if verdict == "PASS" and self.limit else verdict

    def _where_it_stopped(self) -> str:
        if self.interrupted is not None:
            signal = self.interrupted.get("signal")
            return f"The run was interrupted ({signal or self.interrupted.get('reason')}) {self._doing()}."
        return f"The journal ends {self._doing()}: the run was killed, crashed, or is still running."

    def _doing(self) -> str:
        open_chunk = next((chunk for chunk in reversed(self.chunks) if chunk.finished is None), None)
        if open_chunk is not None:
            return f"while {open_chunk.stage} trained (chunk {open_chunk.number})"
        if self.attempts and self.attempts[-1].verdict is None:
            return f"during inference {self.attempts[-1].name}"
        return "before the inference gate" if self.last_attempt is None else "after the inference gate"

    def requirements(self) -> list[RequirementRow]:
        """Return a row for every requirement, in specification order; an ID without a test is NOT-RUN.

        A requirement that the version of a journal did not know yet has no row.
        """
        broken = self.journal.problem if self.journal is not None else None
        latest: dict[tuple[str, str], Event] = {}
        for event in self.events:
            if event["event"] == "requirement":
                row = {**event, **self.judged.get(event["id"], {})}
                if broken is not None and row.get("verdict") in ("PASS", "DEGRADED"):
                    row |= {"verdict": "INVALID", "reason": broken}
                latest[str(event.get("id")), str(event.get("test"))] = row
        recorded = {name for name, _ in latest}
        return [
            _requirement_row(key, [event for (name, _), event in latest.items() if name == key])
            for key in REQUIREMENTS
            if key in recorded or key not in ADDED or not recorded
        ]


def without_verdict(sentence: str, verdict: str) -> str:
    """Return the sentence for beside its verdict: `PASS: x` → `x`, `PASS (stage dynamics): x` → `Stage dynamics: x`."""
    found = HEADLINE.match(sentence)
    if found is None or found["verdict"] != verdict:
        return sentence
    limits = ", ".join(part for part in (found["scope"], found["forced"]) if part)
    rest = sentence[found.end() :]
    return f"{limits[0].upper()}{limits[1:]}: {rest}" if limits else rest


def _requirement_row(key: str, events: list[Event]) -> RequirementRow:
    if not events:
        return RequirementRow(key, REQUIREMENTS[key], "NOT-RUN", "No test of this run reported it.")
    events = sorted(events, key=lambda event: rank(str(event.get("verdict"))))
    worst = events[0]
    verdict = str(worst.get("verdict"))
    reasons = dict.fromkeys(str(event.get("reason")) for event in events if event.get("verdict") == verdict)
    return RequirementRow(
        id=key,
        what=REQUIREMENTS[key],
        verdict=verdict if verdict in VERDICTS else "INVALID",
        reason="; ".join(reasons),
        tests=tuple(str(event["test"]) for event in events if event.get("test")),
        evidence=next((str(event["evidence"]) for event in events if event.get("evidence")), None),
    )


def rank(verdict: str) -> int:
    """Return the severity of a verdict, 0 the worst; a requirement has the worst verdict of its tests."""
    return WORST_FIRST.index(verdict) if verdict in WORST_FIRST else 0


def gate_limit(verdict: Event | None, settings: Event | None) -> float | None:
    """Return the MSE limit of the gate verdict, else of the resolved settings."""
    limit = ((verdict or {}).get("thresholds") or {}).get("max_mse")
    if limit is None:
        setting = ((settings or {}).get("settings") or {}).get("max_mse") or {}
        limit = setting.get("value") if isinstance(setting, dict) else None
    return float(limit) if isinstance(limit, int | float) else None


def load_record(project_root: Path, run_folder: Path) -> RunRecord:
    """Load the record of a run from its journal; one that was changed afterwards loads, and its verdict is INVALID.

    Raises:
        GateError: no journal, one that is damaged and has no hash chain, one that does not start with `run_started`, or
            another schema.
    """
    state = inspect_journal(run_folder / "journal.jsonl")
    record = build_record(project_root, run_folder, state.events)
    record.journal = state
    return record


def build_record(project_root: Path, run_folder: Path, events: list[Event]) -> RunRecord:
    """Build the record from the events of a journal (docs/journal.md).

    Raises:
        GateError: it does not start with `run_started`, lacks its timestamp, or has another schema.
    """
    first = events[0] if events else None
    if first is None or first["event"] != "run_started" or not isinstance(first.get("timestamp"), str):
        raise GateError(
            f"The journal in {run_folder.name} does not start with `run_started` and its timestamp, so no report can "
            "be written from it. Give the folder of a run that was started by this program: results/<run>."
        )
    if not is_plain_stamp(first["timestamp"]):
        raise GateError(
            f"The journal in {run_folder.name} has the timestamp {first['timestamp'][:80]!r}, which no report can be "
            "named after: letters, digits, '_' and '-' are allowed. This program did not write it."
        )
    if first.get("schema") != SCHEMA:
        raise GateError(
            f"The journal in {run_folder.name} has schema {first.get('schema')!r}; this version reads schema {SCHEMA}. "
            "Use the version of tinyworlds_gate that wrote it."
        )
    record = RunRecord(project_root, run_folder, events, first)
    resumed = max(i for i, event in enumerate(events) if event["event"] == "run_started")
    record.settings = last_event(events, "settings_resolved")
    record.dataset = last_event(events, "dataset_ready")
    record.git = last_event(events, "git_evidence")
    record.wandb = last_event(events, "wandb_analysis")
    record.interrupted = last_event(events[resumed:], "interrupted")
    record.finished = last_event(events[resumed:], "run_finished")
    record.config_checks = list((last_event(events, "config_checked") or {}).get("checks") or [])
    record.stages = {str(event.get("stage")): event for event in events if event["event"] == "stage_finished"}
    record.ended_processes = [
        {**process, "when": when} for event in events for when, ended in _ended(event) for process in ended or []
    ]
    record.chunks = _chunks(events)
    record.attempts = _attempts(events)
    return record


def _ended(event: Event) -> list[tuple[str, Any]]:
    """Return (when, ended processes) of an event: stale ones, foreign training, and leftovers of a launch."""
    match event["event"]:
        case "stale_processes":
            return [(str(event.get("when")), event.get("ended"))]
        case "interrupted":
            return [("interrupted", event.get("ended"))]
        case "chunk_finished":
            where = f"chunk {event.get('chunk')}"
        case "inference_finished":
            where = f"inference attempt {event.get('attempt')}"
        case "probe_finished":
            where = f"probe of inference attempt {event.get('attempt')}"
        case "target_inference_finished":
            where = f"the checkout's inference, attempt {event.get('attempt')}"
        case _:
            return []
    return [(f"{where}, not part of it", event.get("extra_launchers")), (where, event.get("ended"))]


SLOTS = {"chunk_finished": "finished", "stage_gate": "gate", "retune": "retune", "device_probe": "probe"}
"""Event about a chunk → the field of :class:`Chunk` that holds it."""


def _chunks(events: Iterable[Event]) -> list[Chunk]:
    chunks: list[Chunk] = []
    newest: dict[str, Chunk] = {}
    for event in events:
        if event["event"] == "chunk_started":
            chunks.append(Chunk(event))
            newest[str(event.get("chunk"))] = chunks[-1]
            continue
        slot = SLOTS.get(event["event"])
        owner = newest.get(str(event.get("chunk")))
        if slot is not None and owner is not None:
            setattr(owner, slot, event)
    return chunks


def _attempts(events: Iterable[Event]) -> list[Attempt]:
    attempts: dict[tuple[int, int], Attempt] = {}
    retrain: Event | None = None
    slots = {
        "inference_started": "started",
        "inference_finished": "finished",
        "gate_verdict": "verdict",
        "verdict_picture": "drawn",
    }
    for event in events:
        if event["event"] == "dynamics_retrain":
            retrain = event
        slot = slots.get(event["event"])
        if slot is None:
            continue
        key = attempt_of(event)
        if key not in attempts:
            attempts[key] = Attempt(*key, retrain=retrain)
            retrain = None
        setattr(attempts[key], slot, event)
    return list(attempts.values())


def read_named_json(record: RunRecord, event: Event | None, needed: Iterable[str] = ()) -> dict[str, Any] | None:
    """Load the JSON file that an event names in its `json` field.

    Returns None when the event names no file, or the file cannot be read or lacks one of the `needed` keys (a report
    written after the evidence was lost has none of them).
    """
    name = (event or {}).get("json")
    if not name:
        return None
    try:
        data = load_json(read_owned(record.project_root, str(name), MOST_JSON_BYTES))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and all(key in data for key in needed) else None
