"""A finding: one requirement, its verdict, the reason in words, and where the evidence lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN, PASS

__all__ = [
    "DEGRADED",
    "FAIL",
    "INVALID",
    "NOTHING_TRAINED",
    "NOT_RUN",
    "PASS",
    "Events",
    "Finding",
    "chunk_name",
    "finding",
    "not_run",
    "of",
]

Events = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """One answer; ``evidence`` is a path inside the project or None."""

    id: str
    verdict: str
    reason: str
    evidence: str | None = None


def finding(id: str, problems: Iterable[str], holds: str, evidence: str | None = None) -> Finding:
    """FAIL with all problems, or PASS with the sentence that holds."""
    told = [problem for problem in problems if problem]
    return Finding(id, FAIL, "; ".join(told), evidence) if told else Finding(id, PASS, holds, evidence)


def not_run(id: str, reason: str) -> Finding:
    """A requirement that nothing was evaluated for."""
    return Finding(id, NOT_RUN, reason)


def of(events: Events, name: str, **fields: object) -> list[dict[str, Any]]:
    """The events with this name and these field values, in order."""
    return [e for e in events if e["event"] == name and all(e.get(key) == value for key, value in fields.items())]


def chunk_name(event: dict[str, Any]) -> str:
    """`chunk 2 (dynamics)`."""
    return f"chunk {event.get('chunk')} ({event.get('stage')})"


NOTHING_TRAINED = "no chunk was trained in this run"
