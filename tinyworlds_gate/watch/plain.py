"""A view as plain text: one line for a log, and the page of `key: value` lines that `monitor_4h_latest.info` holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.watch.durations import short
from tinyworlds_gate.watch.event_lines import sentence_of
from tinyworlds_gate.watch.state import ENDED, WAITING
from tinyworlds_gate.watch.view import Alert, View

STATUS, IDLE, EVENT, ALERT, OVER, NOTE = "STATUS", "IDLE", "EVENT", "ALERT", "OVER", "NOTE"
"""Kinds of lines: where a run stands that goes on, or one that does not; an event of its journal; what is wrong; that
it is over; what the watch says of itself."""


@dataclass(frozen=True)
class Line:
    """One line of a log; ``moment`` in Unix seconds."""

    moment: float
    kind: str
    told: str

    def __str__(self) -> str:
        """`2026-11-24 14:33:05  STATUS  …` (local time)."""
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.moment))}  {self.kind:6}  {self.told}"


def status_line(view: View) -> Line:
    """Where the run stands, in one line."""
    return Line(view.now, IDLE if view.phase in (WAITING, ENDED) else STATUS, _status(view))


def _status(view: View) -> str:
    parts = [view.headline]
    chunk = view.chunk
    if chunk is not None:
        parts = [f"{chunk.stage}, chunk {chunk.number}, update {chunk.done} of {chunk.end} (target {chunk.target})"]
        if chunk.updates_per_s is not None:
            parts.append(f"{chunk.updates_per_s:.3g} updates/s")
        if chunk.eta_chunk_s is not None and chunk.eta_stage_s is not None:
            parts.append(f"left: chunk {short(chunk.eta_chunk_s)}, stage {short(chunk.eta_stage_s)}")
        if view.losses.last_loss is not None and view.losses.last_step is not None:
            parts.append(f"loss {view.losses.last_loss:.4g} at update {view.losses.last_step + 1}")
        parts += [
            f"{channel.name} {short(channel.age_s)} ago{' (STALE)' if channel.problem else ''}"
            for channel in view.channels
            if channel.age_s is not None
        ]
        parts += _gpu_words(view)
    return "; ".join(parts)


def info_lines(view: View) -> Iterator[str]:
    """`key: value` lines for programs and people."""
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
        if chunk.eta_chunk_s is not None and chunk.eta_stage_s is not None:
            yield f"left: chunk {short(chunk.eta_chunk_s)}, stage {short(chunk.eta_stage_s)}"
    if view.losses.last_loss is not None and view.losses.last_step is not None:
        yield f"loss: {view.losses.last_loss:.4g} at update {view.losses.last_step + 1} of {view.loss_of}"
    for channel in view.channels:
        if channel.age_s is not None:
            every = "" if channel.interval_s is None else f", usually every {short(channel.interval_s)}"
            yield f"{channel.name}: {short(channel.age_s)} ago{every}{', STALE' if channel.problem else ''}"
    for words in _gpu_words(view):
        yield f"device: {words}"
    for told in view.judged:
        yield f"judged: {told}"
    for alert in view.alerts:
        yield f"alert: {alert.told}"


def _gpu_words(view: View) -> list[str]:
    words = []
    for gpu in view.gpus:
        busy = "busy ?" if gpu.util_pct is None else f"{gpu.util_pct:.0f} % busy"
        held = "" if gpu.memory_used_gib is None else f", {gpu.memory_used_gib:.1f} GiB"
        words.append(f"GPU {gpu.index} {busy}{held}")
    return words


# Turns looks at a run into the lines of a log: what is new at once, where it stands every minute. Pure.


class Narrator:
    """``every_s``: seconds between two lines on where the run stands."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told_at: float | None = None
        self._alerts: dict[str, Alert] = {}

    def lines(self, view: View, new_events: Sequence[Event]) -> list[Line]:
        """The lines for one look. What happened before the watch began is not told again: the first is a status."""
        now, first = view.now, self._told_at is None
        lines = [] if first else [Line(float(e["time"]), EVENT, told) for e in new_events if (told := sentence_of(e))]
        alerts = {alert.about: alert for alert in view.alerts}
        lines += [Line(now, ALERT, alert.told) for about, alert in alerts.items() if about not in self._alerts]
        over = [alert for about, alert in self._alerts.items() if about not in alerts]
        lines += [Line(now, OVER, f"{alert.about}: no longer so: {alert.told}") for alert in over]
        self._alerts = alerts
        if self._told_at is None or now < self._told_at or now - self._told_at >= self._every_s:
            lines.append(status_line(view))
            self._told_at = now
        return lines
