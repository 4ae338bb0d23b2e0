"""Whether a channel moves as it did before (M1–M3): a pure rule over the moments at which it moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tinyworlds_gate.watch.durations import short
from tinyworlds_gate.watch.facts import Moves

STEP, SAMPLE = "step", "device sample"

PATIENCE = 2.0
"""A channel is called stale after this many of its intervals, and the slack."""
SLACK_S = 10.0
STEP_SLACK_S = 30.0
"""Workers save checkpoints and draw pictures between two steps."""
FIRST_STEP_S = 180.0
"""Python, torch, the frames and the process group come before a chunk's first step."""
SAMPLE_SLACK_S = 30.0
"""At the end of a chunk the harness reads its checkpoint before it writes the next line."""


@dataclass(frozen=True)
class Channel:
    """One channel at a moment; seconds, None where not known. ``problem``: the sentence that calls it stale."""

    name: str
    newest: str | None
    age_s: float | None
    interval_s: float | None
    problem: str | None = None


def file_channel(name: str, moves: Moves, now: float, *, since: float | None, due_every_s: float | None) -> Channel:
    """A channel of files: the history, the checkpoints or the pictures of the chunk that runs.

    Args:
        since: start of the chunk; None while none runs, then nothing is due.
        due_every_s: the interval that the settings and the rate ask for; it counts until two files have appeared.
    """
    age = None if moves.newest_time is None else _age(moves.newest_time, now)
    gaps = [later - earlier for earlier, later in pairwise(moves.times)]
    if since is None:
        return Channel(name, moves.newest, age, median(gaps) if gaps else None)
    interval = median(gaps) if gaps else due_every_s
    waited = _age(moves.times[-1] if moves.times else since, now)
    problem = None
    if interval is not None and waited > PATIENCE * interval + SLACK_S:
        what = f"no new {name} for {short(waited)}" if moves.times else f"no {name} yet after {short(waited)}"
        known = "the interval so far was" if gaps else "at this rate one was due after"
        problem = f"{what}, {known} {short(interval)}"
    return Channel(name, moves.newest, age, interval, problem)


def step_channel(step: int | None, times: Sequence[float], now: float, *, since: float) -> Channel:
    """The workers' steps; ``times`` are those at which a newer step was seen."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    interval = median(gaps) if gaps else None
    age = _age(times[-1] if times else since, now)
    problem = None
    if not times and age > FIRST_STEP_S:
        problem = f"no first step {short(age)} after the chunk was started"
    elif times and age > PATIENCE * (interval or 0.0) + STEP_SLACK_S:
        problem = f"no new step for {short(age)}" + (
            f", they came every {short(interval)} so far" if interval is not None else ""
        )
    newest = f"update {step + 1}" if step is not None and step >= 0 else None
    return Channel(STEP, newest, age if times else None, interval, problem)


def sample_channel(taken: float | None, now: float, *, since: float, interval_s: float) -> Channel:
    """The device samples, which the harness itself writes while a chunk runs: without them, it does not run."""
    age = _age(since if taken is None else taken, now)
    problem = None
    if age > 3 * interval_s + SAMPLE_SLACK_S:
        problem = (
            f"no device sample for {short(age)}, the harness takes one every {short(interval_s)}: it was stopped, has "
            "died, or is busy"
        )
    return Channel(SAMPLE, None, None if taken is None else age, interval_s, problem)


def _age(moment: float, now: float) -> float:
    """Seconds since; a clock that was set back makes nothing younger than now."""
    return max(0.0, now - moment)
