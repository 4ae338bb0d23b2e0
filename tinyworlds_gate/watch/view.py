"""Build the view of a run at one moment from its state and its files' facts (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.formats import rounded_duration
from tinyworlds_gate.watch.channels import SAMPLE, STEP, Channel, file_channel, sample_channel, step_channel
from tinyworlds_gate.watch.facts import Arrivals, Facts, Losses
from tinyworlds_gate.watch.pace import CPU_WINDOW_S, Pace, cpu_share, pace_of
from tinyworlds_gate.watch.state import ENDED, TRAINING, WAITING, Gpu, OpenChunk, RunState, StageState


@dataclass(frozen=True)
class StageLine:
    """A stage: updates done, its target, and `done`, `now` or `later`."""

    stage: str
    done: int
    target: int | None
    verdict: str | None
    when: str


@dataclass(frozen=True)
class ChunkLine(OpenChunk):
    """The current chunk; ``eta_*``: seconds at the rate of the last two minutes, None if unknown or stalled."""

    done: int
    updates_per_s: float | None
    eta_chunk_s: float | None
    eta_stage_s: float | None


@dataclass(frozen=True)
class GpuRow:
    """A GPU; percent and GiB, None means unknown."""

    index: int
    name: str
    util_pct: float | None
    memory_used_gib: float | None
    memory_gib: float | None
    workers: str
    """The ranks whose heartbeats name this GPU, or the number of our processes that hold memory on it."""


@dataclass(frozen=True)
class WorkerRow:
    """A worker; ``cpu`` 1.0 is one full core."""

    rank: int
    pid: int
    device: str
    updates: int
    cpu: float | None
    age_s: float


@dataclass(frozen=True)
class Alert:
    """A warning; its ``subject`` stays the same while its ``text`` changes over time."""

    subject: str
    text: str


@dataclass(frozen=True)
class View:
    """One moment of a run; times in Unix seconds, ages and durations in seconds."""

    run: str
    profile: str | None
    now: float
    age_s: float | None
    phase: str
    headline: str
    stages: tuple[StageLine, ...]
    chunk: ChunkLine | None
    losses: Losses
    loss_of: str | None
    gpus: tuple[GpuRow, ...]
    workers: tuple[WorkerRow, ...]
    channels: tuple[Channel, ...]
    alerts: tuple[Alert, ...]
    verdicts: tuple[str, ...]
    """The last stage gate, the last retune and the last verdict of the inference gate."""
    recent_events: tuple[tuple[float, str], ...]
    page: str | None
    """Path of the HTML page, once it is written."""


def view_of(state: RunState, facts: Facts, now: float) -> View:
    """Return the view at ``now`` (Unix seconds); state and facts are from the same snapshot."""
    pace = pace_of(facts.beats) if state.chunk is not None else Pace()
    channels = _channels(state, facts, pace, now)
    moves = not any(channel.problem for channel in channels if channel.name == STEP)
    chunk = None if state.chunk is None else _chunk_line(state.chunk, pace, facts, moves=moves)
    ended = state.phase_since if state.phase == ENDED else None
    return View(
        run=state.run,
        profile=state.profile,
        now=now,
        age_s=None if state.started is None else max(0.0, (ended or now) - state.started),
        phase=state.phase,
        headline=_headline(state, facts, now),
        stages=tuple(_stage_line(stage, state, chunk) for stage in STAGES),
        chunk=chunk,
        losses=facts.losses,
        loss_of=None if state.newest_chunk is None else state.newest_chunk.stage,
        gpus=_gpu_rows(state.gpus, facts, channels) if state.chunk is not None else (),
        workers=_worker_rows(facts, now) if state.chunk is not None else (),
        channels=channels,
        alerts=_alerts(state, facts, channels),
        verdicts=_verdicts(state),
        recent_events=state.recent_events,
        page=state.reports.get("A8"),
    )


def _verdicts(state: RunState) -> tuple[str, ...]:
    """Return the last verdicts; an ended run has its final verdict in the headline."""
    verdicts = [state.stage_gate, state.retune, None if state.phase == ENDED and state.sentence else state.verdict]
    return tuple(one for one in verdicts if one)


def _headline(state: RunState, facts: Facts, now: float) -> str:
    """Return the run's status in one sentence."""
    since = "" if state.phase_since is None else f" for {rounded_duration(max(0.0, now - state.phase_since))}"
    if state.phase == WAITING:
        waiting = "waiting for the first event of its journal"
        return waiting if facts.journal_exists else "no journal yet: waiting for it"
    if state.phase == ENDED:
        ago = rounded_duration(max(0.0, now - (state.phase_since or now)))
        return f"ended {ago} ago ({state.status}): {state.sentence}"
    if state.chunk is not None:
        return f"training {state.chunk.stage}{since}" + ("" if facts.beats or facts.history.times else ", starting up")
    if state.inference is not None:
        grew = facts.log_modified
        log = "" if grew is None else f", its log grew {rounded_duration(max(0.0, now - grew))} ago"
        return f"inference, {state.inference}{since}{log}"
    return f"{state.phase}{since}"


def _stage_line(stage: str, state: RunState, chunk: ChunkLine | None) -> StageLine:
    known = state.stages.get(stage, StageState())
    is_now = chunk is not None and chunk.stage == stage
    done = chunk.done if chunk is not None and is_now else known.done
    when = "now" if is_now else "done" if known.verdict is not None else "later"
    return StageLine(stage, done, known.target, known.verdict, when)


def _chunk_line(chunk: OpenChunk, pace: Pace, facts: Facts, *, moves: bool) -> ChunkLine:
    done = max(chunk.start, 0 if pace.step is None else pace.step + 1)
    if facts.history.times and facts.losses.last_step is not None:
        # The history can be ahead of the heartbeats, and a stage without heartbeats has only its history.
        done = max(done, facts.losses.last_step + 1)
    rate = pace.updates_per_s if moves else None
    chunk_s, stage_s = (max(0, end - done) / rate if rate else None for end in (chunk.end, chunk.target))
    return ChunkLine(**vars(chunk), done=done, updates_per_s=rate, eta_chunk_s=chunk_s, eta_stage_s=stage_s)


def _channels(state: RunState, facts: Facts, pace: Pace, now: float) -> tuple[Channel, ...]:
    """Return the channels of the newest chunk; without an open chunk nothing is due."""
    if state.newest_chunk is None:
        return ()
    chunk, stage = state.chunk, state.newest_chunk.stage
    since = None if chunk is None else chunk.since
    due = chunk.log_interval / pace.updates_per_s if chunk is not None and pace.updates_per_s else None
    # History rows are buffered by the stage and written with a checkpoint at the latest.
    files = [
        file_channel("history row", facts.history, now, since=since, due_every_s=due),
        file_channel("checkpoint", _short_name(facts.checkpoints, stage), now, since=since, due_every_s=due),
        file_channel("picture", _short_name(facts.pictures, stage), now, since=since, due_every_s=due),
    ]
    if chunk is None:
        return tuple(files)
    taken = None if facts.devices is None else facts.devices.time
    samples = sample_channel(taken, now, since=chunk.since, interval_s=state.monitor_interval_s)
    if not facts.beats and facts.history.times:
        return (*files, samples)  # a stage that writes no heartbeats
    return (step_channel(pace.step, pace.times, now, since=chunk.since), *files, samples)


def _short_name(moves: Arrivals, stage: str) -> Arrivals:
    """Shorten `dynamics_step_499` to `step_499`."""
    return moves if moves.newest is None else replace(moves, newest=moves.newest.removeprefix(f"{stage}_"))


def _alerts(state: RunState, facts: Facts, channels: Sequence[Channel]) -> tuple[Alert, ...]:
    alerts = [Alert(channel.name, channel.problem) for channel in channels if channel.problem]
    if state.phase == TRAINING and facts.losses.not_finite is not None:
        alerts.append(Alert("loss", f"the loss of update {facts.losses.not_finite} is not a finite number"))
    if state.phase != TRAINING:
        alerts += [Alert(problem, f"the last chunk is INVALID: {problem}") for problem in state.channel_problems]
    if state.phase not in (WAITING, ENDED) and not facts.journal_exists:
        alerts.append(Alert("journal", "the journal is gone: the data shown was read before"))
    return tuple(alerts)


def _gpu_rows(gpus: Sequence[Gpu], facts: Facts, channels: Sequence[Channel]) -> tuple[GpuRow, ...]:
    """Return the GPUs of the newest sample with the names from the run's first event; an old sample gives no values."""
    is_old = any(channel.problem for channel in channels if channel.name == SAMPLE)
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    rows = []
    for number, reading in enumerate(facts.devices.gpus if facts.devices is not None else ()):
        known = by_uuid.get(reading.uuid)
        ranks = [rank for rank, beats in facts.beats.items() if beats and beats[-1].device == reading.uuid]
        held = reading.own_processes
        named = f"rank {', '.join(map(str, ranks))}" if ranks else "" if not held else f"{held} process(es)"
        rows.append(
            GpuRow(
                index=known.index if known else number,
                name=known.name if known else reading.uuid,
                util_pct=None if is_old else reading.util_pct,
                memory_used_gib=None if is_old else reading.memory_used_gib,
                memory_gib=known.memory_gib if known else None,
                workers=named,
            )
        )
    return tuple(rows)


def _worker_rows(facts: Facts, now: float) -> tuple[WorkerRow, ...]:
    return tuple(
        WorkerRow(
            rank=rank,
            pid=beats[-1].pid,
            device=beats[-1].device,
            updates=beats[-1].step + 1,
            cpu=cpu_share(beats) if now - beats[-1].time <= CPU_WINDOW_S else None,
            age_s=max(0.0, now - beats[-1].time),
        )
        for rank, beats in facts.beats.items()
        if beats
    )
