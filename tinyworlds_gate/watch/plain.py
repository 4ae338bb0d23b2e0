"""Render a view as plain text: log lines, and the `key: value` lines of `monitor_4h_latest.info`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyworlds_gate.run.formats import rounded_duration
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.watch.event_lines import event_sentence
from tinyworlds_gate.watch.state import ENDED, WAITING
from tinyworlds_gate.watch.view import Alert, ChunkLine, View

STATUS, IDLE, EVENT, ALERT, OVER, NOTE = "STATUS", "IDLE", "EVENT", "ALERT", "OVER", "NOTE"
"""Kinds of lines: status of an active or inactive run, journal event, alert, end of an alert, note of the watch."""


@dataclass(frozen=True)
class Line:
    """One line of a log; ``moment`` in Unix seconds."""

    moment: float
    kind: str
    text: str

    def __str__(self) -> str:
        """Return `2026-11-24 14:33:05  STATUS  …` (local time)."""
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.moment))}  {self.kind:6}  {self.text}"


def status_line(view: View) -> Line:
    """Return the run's status in one line."""
    parts = [view.headline]
    chunk = view.chunk
    if chunk is not None:
        parts = [f"{chunk.stage}, chunk {chunk.number}, update {chunk.done} of {chunk.end} (target {chunk.target})"]
        if chunk.updates_per_s is not None:
            parts.append(f"{chunk.updates_per_s:.3g} updates/s")
        parts += _time_left(chunk)
        if view.losses.last_loss is not None and view.losses.last_step is not None:
            parts.append(f"loss {view.losses.last_loss:.4g} at update {view.losses.last_step + 1}")
        parts += [
            f"{channel.name} {rounded_duration(channel.age_s)} ago{' (STALE)' if channel.problem else ''}"
            for channel in view.channels
            if channel.age_s is not None
        ]
        parts += _gpu_texts(view)
    return Line(view.now, IDLE if view.phase in (WAITING, ENDED) else STATUS, "; ".join(parts))


def info_lines(view: View) -> Iterator[str]:
    """Yield `key: value` lines for programs and people."""
    yield f"phase: {view.phase}"
    yield f"now: {view.headline}"
    for stage in view.stages:
        of = "?" if stage.target is None else stage.target
        yield f"{stage.stage}: {stage.done} of {of} updates" + (f", {stage.verdict}" if stage.verdict else "")
    chunk = view.chunk
    if chunk is not None:
        yield f"chunk: {chunk.number} ({chunk.reason}), update {chunk.done} of {chunk.end}"
        if chunk.updates_per_s is not None:
            yield f"rate: {chunk.updates_per_s:.3g} updates/s"
        yield from _time_left(chunk)
    if view.losses.last_loss is not None and view.losses.last_step is not None:
        yield f"loss: {view.losses.last_loss:.4g} at update {view.losses.last_step + 1} of {view.loss_of}"
    for channel in view.channels:
        if channel.age_s is not None:
            every = "" if channel.interval_s is None else f", usually every {rounded_duration(channel.interval_s)}"
            yield f"{channel.name}: {rounded_duration(channel.age_s)} ago{every}{', STALE' if channel.problem else ''}"
    for device in _gpu_texts(view):
        yield f"device: {device}"
    for verdict in view.verdicts:
        yield f"judged: {verdict}"
    for alert in view.alerts:
        yield f"alert: {alert.text}"


def _time_left(chunk: ChunkLine) -> Iterator[str]:
    if chunk.eta_chunk_s is not None and chunk.eta_stage_s is not None:
        yield f"left: chunk {rounded_duration(chunk.eta_chunk_s)}, stage {rounded_duration(chunk.eta_stage_s)}"


def _gpu_texts(view: View) -> list[str]:
    texts = []
    for gpu in view.gpus:
        busy = "busy ?" if gpu.util_pct is None else f"{gpu.util_pct:.0f} % busy"
        held = "" if gpu.memory_used_gib is None else f", {gpu.memory_used_gib:.1f} GiB"
        texts.append(f"GPU {gpu.index} {busy}{held}")
    return texts


class LogLines:
    """Log lines for successive snapshots: events and alerts at once, a status line every ``every_s`` seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._status_at: float | None = None
        self._alerts: dict[str, Alert] = {}

    def lines(self, view: View, new_events: Sequence[Event]) -> list[Line]:
        """Return the lines for one snapshot; the first has no events, since they happened before the watch began."""
        now, before = view.now, self._status_at
        events = [] if before is None else new_events
        lines = [Line(float(event["time"]), EVENT, text) for event in events if (text := event_sentence(event))]
        alerts = {alert.subject: alert for alert in view.alerts}
        lines += [Line(now, ALERT, alert.text) for subject, alert in alerts.items() if subject not in self._alerts]
        over = [alert for subject, alert in self._alerts.items() if subject not in alerts]
        lines += [Line(now, OVER, f"{alert.subject}: no longer so: {alert.text}") for alert in over]
        self._alerts = alerts
        if before is None or now < before or now - before >= self._every_s:
            lines.append(status_line(view))
            self._status_at = now
        return lines
