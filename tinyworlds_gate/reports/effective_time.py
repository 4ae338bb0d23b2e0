"""Effective training time: the share of the wall time of training that became updates of the run's models.

It is computed from the journal alone. Starts of processes, repeated updates, checkpoints, gates and the time after a
kill until the run is resumed count as wall time; inference, its reports, and the time between an orderly end
(Ctrl-C, a stop with a sentence) and the resume do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.progress import INTERRUPTED

_NOT_TRAINING = frozenset({"inference_started", "interrupted", "run_finished"})
Span = tuple[int, int, float | None]
"""First update, last update (exclusive), updates a second."""


@dataclass(frozen=True)
class EffectiveTime:
    """Seconds of training that became kept updates, of the seconds that training took."""

    kept_s: float
    wall_s: float

    @property
    def share(self) -> float:
        return self.kept_s / self.wall_s


def effective_time(events: Iterable[Event]) -> EffectiveTime | None:
    """Return the effective training time of a run so far; None where no chunk has ended or no pace is known."""
    events = list(events)
    try:
        wall_s = _wall_s(events)
        kept_s = sum(_kept_s(stage, events) for stage in dict.fromkeys(_stages(events)))
    except (KeyError, TypeError, ValueError, OverflowError):  # a journal of somebody else, or of an older version
        return None
    return EffectiveTime(min(kept_s, wall_s), wall_s) if wall_s > 0 and kept_s > 0 else None


def effective_time_text(found: EffectiveTime | None) -> str | None:
    """Return it as the middle of a sentence, or None."""
    if found is None:
        return None
    return f"{100 * found.share:.1f} % of {found.wall_s:.0f} s of training became updates of the models"


def _stages(events: Iterable[Event]) -> list[str]:
    return [event["stage"] for event in events if event["event"] == "chunk_started"]


def _wall_s(events: Iterable[Event]) -> float:
    total, began, ended, is_open = 0.0, None, 0.0, False
    for event in events:
        name, now = event["event"], float(event["time"])
        if name == "chunk_started":
            began, is_open = now if began is None else began, True
        elif name == "chunk_finished":
            ended, is_open = now, False
        elif name in _NOT_TRAINING and began is not None:
            total += max(0.0, (now if is_open else ended) - began)
            began, is_open = None, False
    return total + (max(0.0, ended - began) if began is not None else 0.0)


def _kept_s(stage: str, events: Iterable[Event]) -> float:
    """Seconds that the updates took from which the stage's newest checkpoint was made."""
    kept: list[Span] = []
    paces = []
    started: Event | None = None
    for event in events:
        if event.get("stage") != stage:
            continue
        if event["event"] == "chunk_started":
            started, kept = event, _until(kept, int(event["start_update"]))
        elif event["event"] == "chunk_finished" and started is not None:
            pace = event.get("updates_per_s")
            start, end = int(started["start_update"]), _end(event, started)
            if pace:
                paces.append(float(pace))
            if end > start:
                kept.append((start, end, float(pace) if pace else None))
        elif event["event"] == "checkpoint_refused":
            kept = _until(kept, int(event["used"]["step"]) + 1 if event.get("used") else 0)
    if not paces:
        return 0.0
    usual = median(paces)
    return sum((end - start) / (pace or usual) for start, end, pace in kept)


def _end(finished: Event, started: Event) -> int:
    """The update up to which a chunk's work was kept."""
    if finished.get("failure") is None and finished.get("cause") != INTERRUPTED:
        return int(started["end_update"])
    back = finished.get("continue_from") or {}
    return min(int(back["step"]) + 1, int(started["end_update"])) if "step" in back else 0


def _until(kept: list[Span], end: int) -> list[Span]:
    """The spans before update ``end``: what comes after it is trained again."""
    return [(start, min(stop, end), pace) for start, stop, pace in kept if start < end]
