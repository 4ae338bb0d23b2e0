"""Why a chunk does not count (S4, T1, T6): a pure decision over how its launcher ended and what it left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from tinyworlds_gate.launch.failure_text import failure_sentence
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.launch.raised import Raised, unmendable
from tinyworlds_gate.run.disk import DISK_FULL
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence
from tinyworlds_gate.stages.progress import RUN_STOPS
from tinyworlds_gate.stages.retune import SETUP_ERROR, Cause

RETUNE_CAUSES: tuple[str, ...] = get_args(Cause)
"""The causes that have a retune ladder; any other failure of a launcher is a runtime error."""


_ALONE = re.compile(r"on rank \d+ alone")
"""How the reference's trainer says that the mean of the losses was spoilt by one rank."""


@dataclass(frozen=True)
class Failure:
    """The cause that decides what follows, and the sentence for a person."""

    cause: str
    """One of ``retune.Cause``, or one of ``progress.RUN_STOPS``."""
    reason: str
    raised: tuple[Raised, ...] = ()
    """What it raised; two failures in a row that raised the same stop the stage (T1)."""


def failure_of(result: ChunkResult, evidence: ChunkEvidence, end_update: int, *, guard_applies: bool) -> Failure | None:
    """Why the chunk does not count, or None when it does.

    ``guard_applies``: whether the chunk needs evidence that all GPUs worked at the same time (H6).
    """
    if evidence.diverged:
        alone = _ALONE.search("; ".join(one.message for one in result.raised))
        return Failure("stage_gate", "; ".join(evidence.problems) + (f"; it was {alone[0]}" if alone else ""))
    if result.cause == DISK_FULL:
        where = f"; {result.culprit}" if result.culprit else ""
        return Failure(DISK_FULL, f"{result.stage} stopped: {result.disk_problem}{where} (its log: {result.log})")
    if result.cause != "ok":
        known = result.cause in RETUNE_CAUSES or result.cause in RUN_STOPS
        explanation = failure_sentence(result)
        reason = explanation if result.node_problem is None else f"{result.node_problem}; on node 0 {explanation}"
        cause = result.cause if known else "runtime_error"
        return Failure(_setup_error(cause, result.raised), reason, result.raised)
    if evidence.problems:
        return _without_evidence(result, evidence, end_update)
    if guard_applies and result.dual_gpu_ok is not True:
        return Failure("guard", f"the device check failed: {result.dual_gpu_reason}")
    return None


def _without_evidence(result: ChunkResult, evidence: ChunkEvidence, end_update: int) -> Failure:
    """Exit code 0 with the checkpoint of the last update is no runtime error. That holds even if the checkpoint cannot
    be used: another rank may have overwritten it (hazard 2), and no batch size mends that. Without a checkpoint the
    stage has failed (hazard 1)."""
    reason = "; ".join(evidence.problems)
    problem = Raised("exit code 0", None, reason)
    took_all_updates = bool(evidence.history.steps) and evidence.history.steps[-1] >= end_update - 1
    if evidence.checkpoint is not None or (evidence.checkpoint_refused and took_all_updates):
        return Failure("missing_evidence", reason, (problem,))
    said = f" (its log shows {result.raised[-1].sentence()})" if result.raised else ""
    return Failure(_setup_error("runtime_error", result.raised), reason + said, (*result.raised, problem))


def _setup_error(cause: str, raised: tuple[Raised, ...]) -> str:
    return SETUP_ERROR if cause == "runtime_error" and unmendable(raised) is not None else cause
