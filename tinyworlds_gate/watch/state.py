"""State of a run from its journal alone: a fold over its events, for a running or an ended run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.watch.event_lines import event_sentence, one_line

WAITING, PREPARING, TRAINING = "waiting", "preparing", "training"
BETWEEN, INFERENCE, ENDED = "between two steps", "inference", "ended"
MAX_RECENT_EVENTS = 8
INTERRUPTED = "interrupted"
MONITOR_INTERVAL_S = 5.0


@dataclass(frozen=True)
class OpenChunk:
    """A chunk that started in the journal; ``since`` in Unix seconds."""

    number: int
    stage: str
    start: int
    end: int
    target: int
    log_interval: int
    since: float
    reason: str
    log: str | None


@dataclass(frozen=True)
class StageState:
    """One stage: updates of its valid checkpoint, its target (None: unknown), its verdict once finished."""

    done: int = 0
    target: int | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Gpu:
    """A GPU of the machine, from the run's first event."""

    index: int
    uuid: str
    name: str
    memory_gib: float | None


@dataclass(frozen=True)
class RunState:
    """The state of a run; ``after`` returns the state after one more event. Times are Unix seconds."""

    run: str
    phase: str = WAITING
    phase_since: float | None = None
    profile: str | None = None
    started: float | None = None
    last_event: float | None = None
    stages: Mapping[str, StageState] = field(default_factory=lambda: MappingProxyType({}))
    chunk: OpenChunk | None = None
    newest_chunk: OpenChunk | None = None
    """The open chunk, or the last one; its files are followed."""
    inference: str | None = None
    """The attempt (`attempt 1`) while inference runs."""
    log: str | None = None
    """The log of the current child process."""
    gpus: tuple[Gpu, ...] = ()
    monitor_interval_s: float = MONITOR_INTERVAL_S
    stage_gate: str | None = None
    retune: str | None = None
    verdict: str | None = None
    channel_problems: tuple[str, ...] = ()
    """Channels without new entries in the newest finished chunk, as the loop reported them."""
    status: str | None = None
    """Status in `run_finished`; None while the run continues."""
    sentence: str | None = None
    reports: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    recent_events: tuple[tuple[float, str], ...] = ()
    """The newest events as (time, sentence), oldest first."""

    @property
    def may_be_resumed(self) -> bool:
        """Whether the run was interrupted, so that `--resume-run` can continue it."""
        return self.status == INTERRUPTED

    def after_all(self, events: Iterable[Event]) -> RunState:
        """Return the state after several events."""
        state = self
        for event in events:
            state = state.after(event)
        return state

    def after(self, event: Event) -> RunState:
        """Return the state after one event; an unknown kind only updates the time."""
        time = float(event.get("time") or 0.0)
        state = replace(self, last_event=time)
        sentence = event_sentence(event)
        if sentence is not None:
            recent = (*self.recent_events, (time, sentence))[-MAX_RECENT_EVENTS:]
            state = replace(state, recent_events=recent)
        match event["event"]:
            case "run_started":
                return state._started(event, time)
            case "settings_resolved":
                return state._settled(event)
            case "chunk_started":
                return state._chunk_started(event, time)
            case "chunk_finished":
                return state._chunk_finished(event, time)
            case "stage_gate":
                return replace(state, stage_gate=sentence)
            case "retune":
                return replace(state, retune=sentence)
            case "checkpoint_refused":
                return state._with_stage(event, done=_updates_of(event.get("used")))
            case "stage_finished":
                return state._with_stage(
                    event, done=int(event.get("updates") or 0), verdict=str(event.get("verdict"))
                )._now(BETWEEN, time)
            case "inference_started" | "probe_started":
                name = attempt_name(*attempt_of(event))
                return replace(state, inference=name, log=event.get("log"))._now(INFERENCE, time)
            case "inference_finished" | "probe_finished":
                return replace(state, inference=None, log=None)._now(BETWEEN, time)
            case "gate_verdict":
                return replace(state, verdict=sentence)
            case "dynamics_retrain":
                return state._with_stage({"stage": "dynamics"}, target=event.get("to_update"), verdict=None)
            case "report_written":
                return replace(state, reports={**self.reports, str(event.get("id")): one_line(event.get("path"))})
            case "run_finished":
                ended = replace(state, chunk=None, inference=None, log=None, status=str(event.get("status")))
                return replace(ended, sentence=one_line(event.get("sentence") or ""))._now(ENDED, time)
        return state

    def _now(self, phase: str, time: float) -> RunState:
        return replace(self, phase=phase, phase_since=time)

    def _started(self, event: Event, time: float) -> RunState:
        """Handle the start or resumption of a run: anything that was open is closed."""
        machine: Mapping[str, Any] = event.get("machine") or {}
        return replace(
            self,
            run=one_line(event.get("run") or self.run),
            profile=one_line(event.get("profile")),
            started=time if self.started is None else self.started,
            gpus=tuple(_gpus(machine.get("gpus") or [])),
            chunk=None,
            inference=None,
            log=None,
            status=None,
            sentence=None,
        )._now(PREPARING, time)

    def _settled(self, event: Event) -> RunState:
        settings: Mapping[str, Any] = event.get("settings") or {}

        def value(key: str) -> Any:
            return (settings.get(key) or {}).get("value")

        stages = dict(self.stages)
        for stage in STAGES:
            target = value(f"profile.stages.{stage}.target_updates")
            if isinstance(target, int):
                stages[stage] = replace(stages.get(stage, StageState()), target=target)
        interval = value("options.monitor_interval_sec")
        return replace(
            self,
            stages=stages,
            monitor_interval_s=float(interval) if isinstance(interval, int | float) else self.monitor_interval_s,
        )

    def _chunk_started(self, event: Event, time: float) -> RunState:
        chunk = OpenChunk(
            number=int(event["chunk"]),
            stage=str(event["stage"]),
            start=int(event.get("start_update") or 0),
            end=int(event.get("end_update") or 0),
            target=int(event.get("target_updates") or 0),
            log_interval=int((event.get("params") or {}).get("log_interval") or 0),
            since=time,
            reason=one_line(event.get("reason")),
            log=event.get("log"),
        )
        state = self._with_stage(event, done=chunk.start, target=chunk.target, verdict=None)
        return replace(state, chunk=chunk, newest_chunk=chunk, log=chunk.log)._now(TRAINING, time)

    def _chunk_finished(self, event: Event, time: float) -> RunState:
        counts = not event.get("failure") and event.get("cause") != INTERRUPTED
        done = _updates_of(event.get("checkpoint") if counts else event.get("continue_from"))
        channels: Mapping[str, Any] = event.get("channels") or {}
        problems = tuple(
            one_line(f"{id}: {channel.get('reason')}")
            for id, channel in channels.items()
            if channel.get("verdict") != "PASS"
        )
        state = self._with_stage(event, done=done)
        return replace(state, chunk=None, log=None, channel_problems=problems)._now(BETWEEN, time)

    def _with_stage(self, event: Mapping[str, Any], **changes: Any) -> RunState:
        stage = str(event.get("stage"))
        return replace(self, stages={**self.stages, stage: replace(self.stages.get(stage, StageState()), **changes)})


def _updates_of(checkpoint: Mapping[str, Any] | None) -> int:
    return int(checkpoint["step"]) + 1 if checkpoint else 0


def _gpus(listed: Iterable[Mapping[str, Any]]) -> Iterable[Gpu]:
    for gpu in listed:
        memory = gpu.get("memory_gib")
        yield Gpu(
            index=int(gpu.get("index") or 0),
            uuid=str(gpu.get("uuid")),
            name=one_line(gpu.get("name")),
            memory_gib=float(memory) if isinstance(memory, int | float) else None,
        )
