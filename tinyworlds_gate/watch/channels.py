"""Decide whether a channel is stale (M1–M3), from the times of its past entries (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tinyworlds_gate.run.formats import rounded_duration
from tinyworlds_gate.watch.facts import Arrivals

STEP, SAMPLE = "step", "device sample"

PATIENCE = 2.0
"""A channel is stale after this many of its intervals plus the slack."""
SLACK_S = 10.0
STEP_SLACK_S = 30.0
"""Workers save checkpoints and draw pictures between two steps."""
FIRST_STEP_S = 180.0
"""Before a chunk's first step, Python and torch start, the frames load and the process group forms."""
SAMPLE_SLACK_S = 30.0
"""At the end of a chunk the harness verifies the checkpoint before it writes the next event."""


@dataclass(frozen=True)
class Channel:
    """One channel at one moment; times in seconds, None if unknown. ``problem``: why it is stale, or None."""

    name: str
    newest: str | None
    age_s: float | None
    interval_s: float | None
    problem: str | None = None


def file_channel(name: str, moves: Arrivals, now: float, *, since: float | None, due_every_s: float | None) -> Channel:
    """Return a channel of files: the history, checkpoints or pictures of the current chunk.

    Args:
        since: start of the chunk; None while no chunk runs, then nothing is due.
        due_every_s: the expected interval from the settings and the rate, used until two files have appeared.
    """
    age = None if moves.newest_time is None else _age(moves.newest_time, now)
    gaps = [later - earlier for earlier, later in pairwise(moves.times)]
    if since is None:
        return Channel(name, moves.newest, age, median(gaps) if gaps else None)
    interval = median(gaps) if gaps else due_every_s
    waited = _age(moves.times[-1] if moves.times else since, now)
    problem = None
    if interval is not None and waited > PATIENCE * interval + SLACK_S:
        what = (
            f"no new {name} for {rounded_duration(waited)}"
            if moves.times
            else f"no {name} yet after {rounded_duration(waited)}"
        )
        known = "the interval so far was" if gaps else "at this rate one was due after"
        problem = f"{what}, {known} {rounded_duration(interval)}"
    return Channel(name, moves.newest, age, interval, problem)


def step_channel(step: int | None, times: Sequence[float], now: float, *, since: float) -> Channel:
    """Return the channel of the workers' steps; ``times`` are when a newer step was observed."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    interval = median(gaps) if gaps else None
    age = _age(times[-1] if times else since, now)
    problem = None
    if not times and age > FIRST_STEP_S:
        problem = f"no first step {rounded_duration(age)} after the chunk was started"
    elif times and age > PATIENCE * (interval or 0.0) + STEP_SLACK_S:
        problem = f"no new step for {rounded_duration(age)}" + (
            f", they came every {rounded_duration(interval)} so far" if interval is not None else ""
        )
    newest = f"update {step + 1}" if step is not None and step >= 0 else None
    return Channel(STEP, newest, age if times else None, interval, problem)


def sample_channel(taken: float | None, now: float, *, since: float, interval_s: float) -> Channel:
    """Return the channel of device samples; missing samples mean that the harness itself is not running."""
    age = _age(since if taken is None else taken, now)
    problem = None
    if age > 3 * interval_s + SAMPLE_SLACK_S:
        problem = (
            f"no device sample for {rounded_duration(age)}, the harness takes one every "
            f"{rounded_duration(interval_s)}: it was stopped, has died, or is busy"
        )
    return Channel(SAMPLE, None, None if taken is None else age, interval_s, problem)


def _age(moment: float, now: float) -> float:
    """Return the seconds since a moment; at least 0, also after the clock was set back."""
    return max(0.0, now - moment)
