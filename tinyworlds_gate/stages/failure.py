"""Why a chunk does not count (S4, T1, T6): a pure decision over how its launcher ended and what it left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from tinyworlds_gate.launch.failure_text import failure_sentence
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.run.disk import DISK_FULL
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence
from tinyworlds_gate.stages.progress import RUN_STOPS
from tinyworlds_gate.stages.retune import Cause

RETUNE_CAUSES: tuple[str, ...] = get_args(Cause)
"""The causes that a ladder answers; any other failure of a launcher is a runtime error."""


@dataclass(frozen=True)
class Failure:
    """The cause that decides what follows, and the sentence for a person."""

    cause: str
    """One of ``retune.Cause``, or one of ``progress.RUN_STOPS``."""
    reason: str


def failure_of(result: ChunkResult, evidence: ChunkEvidence, *, guard_applies: bool) -> Failure | None:
    """Why the chunk does not count, or None when it does.

    Args:
        guard_applies: whether an idle GPU is a failure (H6); unknown is none, it makes the run INVALID in the end.
    """
    if evidence.diverged:
        return Failure("stage_gate", "; ".join(evidence.problems))
    if result.cause == DISK_FULL:
        return Failure(DISK_FULL, f"{result.stage} stopped: {result.disk_problem} (its log: {result.log})")
    if result.cause != "ok":
        known = result.cause in RETUNE_CAUSES or result.cause in RUN_STOPS
        told = failure_sentence(result)
        reason = told if result.node_problem is None else f"{result.node_problem}; on node 0 {told}"
        return Failure(result.cause if known else "runtime_error", reason)
    if guard_applies and result.dual_gpu_ok is False:
        return Failure("guard", f"the device check failed: {result.dual_gpu_reason}")
    if evidence.problems:
        return Failure("runtime_error", "; ".join(evidence.problems))
    return None
