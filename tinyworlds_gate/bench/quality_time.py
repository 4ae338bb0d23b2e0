"""Time to quality: when each checkpoint of a run existed, what the time went into, and when a level was reached.

Pure functions over a run's journal and the rows of a history. Moments are seconds of the run's clock (Unix time).
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import Event

INFERENCE = ("inference_finished", "probe_finished")
VERDICT = ("earlier_verdicts", "gate_verdict", "verdict_picture")
"""The time from the event before to one of these is spent on the verdict."""
WHOLE = "whole loop"


@dataclass(frozen=True)
class RunClock:
    """The sessions of a run, (begin, end), and its training launchers: stage, begin, lifetime in seconds.

    A launcher counts from `chunk_started`, just before it is launched; one that never ended has an infinite lifetime.
    ``start_s`` lies between the launch of the command and the journal's first line; 0 where it is not known.
    """

    sessions: Sequence[tuple[float, float]]
    chunks: Sequence[tuple[str, float, float]]
    start_s: float = 0.0

    @classmethod
    def of(cls, events: Sequence[Event], launched: float | None = None) -> RunClock:
        """Read a journal. ``launched``: when the command of the first session was launched, if known."""
        starts = [number for number, event in enumerate(events) if event["event"] == "run_started"] + [len(events)]
        sessions = [(float(events[a]["time"]), float(events[b - 1]["time"])) for a, b in itertools.pairwise(starts)]
        chunks = dict[Any, tuple[str, float, float]]()
        for event in events:
            if event["event"] == "chunk_started":
                chunks[event["chunk"]] = (str(event["stage"]), float(event["time"]), float("inf"))
            elif event["event"] == "chunk_finished" and event["chunk"] in chunks:
                stage, began, _ = chunks[event["chunk"]]
                chunks[event["chunk"]] = (stage, began, float(event.get("wall_s") or 0.0))
        return cls(sessions, list(chunks.values()), max(0.0, sessions[0][0] - (launched or sessions[0][0])))

    def training_s(self, moment: float, stage: str | None = None) -> float:
        """Seconds of launcher lifetimes up to a moment, of one stage or all."""
        spans = [(began, lasted) for name, began, lasted in self.chunks if stage in (None, name)]
        return sum(min(lasted, moment - began) for began, lasted in spans if began < moment)

    def wall_s(self, moment: float) -> float:
        """Seconds since the launch up to a moment; the time between two sessions of a resumed run is not counted.

        The last session may go on after the last line of the journal.
        """
        ends = [*(end for _, end in self.sessions[:-1]), moment]
        spans = [(begin, end) for (begin, _), end in zip(self.sessions, ends, strict=True)]
        return self.start_s + sum(min(end, moment) - begin for begin, end in spans if begin < moment)


def parts_of(events: Sequence[Event], clock: RunClock, ended: float | None = None) -> dict[str, float]:
    """Return the seconds of data, each stage, inference, verdict and the rest, and of the whole loop.

    ``ended``: when the process of the last session ended, if known, or now: after the last line of the journal.
    """
    end = max(clock.sessions[-1][1], ended or 0.0)
    whole = clock.wall_s(end)
    pairs = [(float(b["time"]) - float(a["time"]), b["event"]) for a, b in itertools.pairwise(events)]
    found = {
        "data": sum(float(one.get("seconds") or 0.0) for one in events if one["event"] == "dataset_ready"),
        **{stage: clock.training_s(end, stage) for stage in STAGES},
        "inference": sum(float(one.get("wall_s") or 0.0) for one in events if one["event"] in INFERENCE),
        "verdict": sum(seconds for seconds, event in pairs if event in VERDICT),
    }
    return found | {"rest": whole - sum(found.values()), WHOLE: whole}


def saving_cost(moments: Mapping[int, float], saved: Sequence[int], chunk_ends: Sequence[int]) -> tuple[float, int]:
    """Seconds that saving took, and of how many checkpoints: by how much later than usual the next update comes.

    That is checkpoint and picture, and the loss on held-out clips where one is due. The last checkpoint of a chunk has
    no update after it.

    Args:
        moments: update → when it was completed.
        saved: updates with a checkpoint.
        chunk_ends: last updates of chunks.
    """
    gaps = {at: moments[at + 1] - moments[at] for at in moments if at + 1 in moments and at not in chunk_ends}
    usual = statistics.median(gaps.values()) if gaps else 0.0
    extra = [max(0.0, gaps[at] - usual) for at in saved if at in gaps]
    return sum(extra), len(extra)


def scoring_order(count: int) -> list[int]:
    """Indices of ``count`` >= 1 checkpoints: the last first, then halving the longest gap; it can be cut off."""
    chosen = [-1, count - 1]
    while len(chosen) <= count:
        low, high = max(itertools.pairwise(sorted(chosen)), key=lambda pair: pair[1] - pair[0])
        chosen.append((low + high) // 2)
    return chosen[1:]


def first_reached(rows: Sequence[Mapping[str, Any]], least: Mapping[str, float]) -> dict[str, Any]:
    """Return the first scored checkpoint, by updates, that reaches all of ``least`` at once, or the nearest one.

    ``reached``: its times, None if there is none; ``not_at``: updates of the scored checkpoint before it; ``nearest``:
    the values of the checkpoint that misses the levels by least.
    """

    def missed(row: Mapping[str, Any]) -> float:
        return max(limit - (float("-inf") if row.get(key) is None else row[key]) for key, limit in least.items())

    good = next((number for number, row in enumerate(rows) if missed(row) <= 0), None)
    nearest = min(rows, key=missed, default=None)
    return {
        "least": dict(least),
        "reached": None if good is None else {key: rows[good][key] for key in ("updates", "training_s", "wall_s")},
        "not_at": rows[good - 1]["updates"] if good else None,
        "nearest": None if nearest is None else {key: nearest.get(key) for key in least},
    }
