"""Read cause, stage and rank of a failed chunk from the report, and from nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

CAUSES: tuple[tuple[str, str], ...] = (
    ("disk full", r"stopped on a full disk"),
    ("NaN", r"the loss of update \d+ is nan|values that are not finite"),
    ("stopped", r"is stopped \(SIGSTOP\)"),
    ("deadlock", r"wait for each other in different calls"),
    ("sleeps", r"(rank \d+|every rank) sleeps in "),
    ("computes", r"(rank \d+|every rank) computes in "),
    ("left early", r"left with exit code 0 before its peers"),
    ("too slow", r"ran longer than its deadline of \S+ s(?!,)"),
    ("launcher killed", r"the launcher got the signal|the launcher was signalled"),
    ("out of memory", r"ran out of memory|by the kernel, for its memory"),
    ("killed", r"rank \d+ was ended by SIG(KILL|TERM|INT|HUP)"),
    ("crashed", r"rank \d+ was ended by SIG(SEGV|ABRT|BUS|FPE|ILL)"),
    ("data loader", r"lost a worker process of its data loader"),
    ("CUDA error", r"met a CUDA error"),
    ("import error", r"could not import a module"),
    ("missing file", r"did not find a file"),
    ("damaged checkpoint", r"could not read a checkpoint|/checkpoints/.*(truncated|damaged|not complete|SHA-256)"),
    ("exit code", r"rank \d+ exited with code \d+"),
    ("exception", r"(rank \d+|every rank) raised "),
)
"""The report's words for each cause, the more specific ones first."""

UNKNOWN = "unknown"
_RANKS = (
    r"rank (\d+) \(PID \d+\) is stopped",
    r"on rank (\d+) alone",
    r"rank (\d+) (?:sleeps|computes|left|was ended|ran out|lost|met|could|did|closed|exited|raised)",
)


@dataclass(frozen=True)
class Named:
    """What a report names; the rank is None if it names none."""

    cause: str
    stage: str | None
    rank: int | None


def read_report(text: str) -> Named:
    """Return what report A6 says about its only chunk."""
    heading, _, rest = text.partition("### Chunk 1: ")[2].partition("\n")
    lines = [line for line in rest.splitlines() if line.startswith(("- It ", "- Why: ", "- Missing or wrong: "))]
    said = "\n".join(lines)
    cause = next((name for name, pattern in CAUSES if re.search(pattern, said)), UNKNOWN)
    ranks = [int(found[1]) for pattern in _RANKS if (found := re.search(pattern, said))]
    if cause == "deadlock" or "which was first is not known" in said:
        ranks = []
    return Named(cause, heading.strip() or None, ranks[0] if ranks else None)
