"""Compute from heartbeats when a worker worked: spans of monotonic time in which its step grew (pure; L3, H6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from tinyworlds_gate.run.heartbeat import Beat

Span = tuple[float, float]

# A longer pause between two beats does not count as work, unless the worker's usual steps take longer.
SHORTEST_PAUSE_S = 1.5
_LONGEST_PAUSE_S = 10.0


def beats_by_rank(heartbeats: Sequence[Beat]) -> dict[int, list[Beat]]:
    """Return each rank's beats in time order, of its newest process only."""
    by_rank: dict[int, list[Beat]] = {}
    for beat in sorted(heartbeats, key=lambda one: one.monotonic):
        by_rank.setdefault(beat.rank, []).append(beat)
    return {
        rank: [one for one in beats if (one.pid, one.create_time) == (beats[-1].pid, beats[-1].create_time)]
        for rank, beats in by_rank.items()
    }


def working_spans(beats: Sequence[Beat], *, with_cpu: bool) -> list[Span]:
    """Return the spans between beats in which the step grew without a long pause (and CPU time was used)."""
    longest = _longest_pause(beats)
    return [
        (earlier.monotonic, later.monotonic)
        for earlier, later in pairwise(beats)
        if later.step > earlier.step
        and later.monotonic - earlier.monotonic <= longest
        and (later.cpu_s > earlier.cpu_s or not with_cpu)
    ]


def span_at(spans: Sequence[Span], moment: float) -> Span | None:
    """Return the span that contains a moment, or None."""
    at = bisect_right(spans, (moment, float("inf"))) - 1
    return spans[at] if at >= 0 and moment < spans[at][1] else None


def shared_spans(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """Return the intersection of two lists of spans."""
    shared: list[Span] = []
    left = right = 0
    while left < len(first) and right < len(second):
        begin = max(first[left][0], second[right][0])
        end = min(first[left][1], second[right][1])
        if begin < end:
            shared.append((begin, end))
        if first[left][1] <= second[right][1]:
            left += 1
        else:
            right += 1
    return shared


def _longest_pause(beats: Sequence[Beat]) -> float:
    """Return the longest gap between beats that counts as continuous work: 3 median gaps, within 1.5 to 10 s."""
    gaps = [later.monotonic - earlier.monotonic for earlier, later in pairwise(beats)]
    return min(_LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, 3 * median(gaps))) if gaps else 0.0
