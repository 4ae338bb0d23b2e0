"""The retune ladders of this run's own parameters: T1–T4 and T6, and that every journalled retune followed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from tinyworlds_gate.findings.base import Events, Finding, finding, of
from tinyworlds_gate.stages.retune import Cause, ChunkParams, Retune, plan_retune

RULES: tuple[tuple[str, str, Cause], ...] = (
    ("T1", "video_tokenizer", "out_of_memory"),
    ("T2", "video_tokenizer", "stage_gate"),
    ("T3", "latent_actions", "stage_gate"),
    ("T4", "dynamics", "stage_gate"),
    ("T6", "dynamics", "guard"),
)


def ladders(events: Events, start: Mapping[str, ChunkParams], max_train_retries: int, nproc: int) -> list[Finding]:
    """Walk each ladder from this run's parameters down to its end, and compare every retune that happened."""
    return [_rule(id, stage, cause, events, start[stage], max_train_retries, nproc) for id, stage, cause in RULES]


def _rule(
    id: str, stage: str, cause: Cause, events: Events, start: ChunkParams, max_train_retries: int, nproc: int
) -> Finding:
    steps = walk(stage, cause, start, max_train_retries, nproc)
    problems = [problem for step in steps for problem in _below_floor(step)]
    if len(steps) > max_train_retries:
        problems.append(f"the ladder of {stage} has {len(steps)} steps, the budget is {max_train_retries}")
    happened = of(events, "retune", id=id)
    for event in happened:
        new = {key: pair[1] for key, pair in (event.get("changes") or {}).items()}
        planned = plan_retune(
            event["stage"],
            _cause_of(event),
            _params_before(event, events, start),
            retries_used=0,
            max_train_retries=1,
            nproc_per_node=nproc,
        )
        expected = {key: pair[1] for key, pair in planned.changes.items()}
        if event.get("proceed", True) and expected != new:
            problems.append(f"the retune after chunk {event.get('chunk')} set {new}, the ladder says {expected}")
    shown = " → ".join(_shown(id, params) for params in [start, *(step.params for step in steps[:3])])
    return finding(id, problems, f"{len(happened)} retune(s) by this rule; the ladder of this run: {shown}")


def _params_before(event: Mapping[str, Any], events: Events, start: ChunkParams) -> ChunkParams:
    """What the chunk that failed ran with; earlier retunes may have moved it away from the start."""
    chunk = of(events, "chunk_started", chunk=event.get("chunk"))
    return ChunkParams(**chunk[-1]["params"]) if chunk else start


def walk(stage: str, cause: Cause, start: ChunkParams, max_train_retries: int, nproc: int) -> list[Retune]:
    """The retunes that would follow if the same cause came again and again."""
    steps: list[Retune] = []
    params = start
    while True:
        step = plan_retune(
            stage, cause, params, retries_used=len(steps), max_train_retries=max_train_retries, nproc_per_node=nproc
        )
        if not step.proceed:
            return steps
        steps.append(step)
        params = step.params


def _below_floor(step: Retune) -> list[str]:
    params = step.params
    lowest = {"batch_size_per_gpu": 1, "gradient_accumulation_steps": 1, "log_interval": 1}
    problems = [
        f"{step.id} sets {key} to {getattr(params, key)}"
        for key, floor in lowest.items()
        if getattr(params, key) < floor
    ]
    return problems + (
        [] if params.learning_rate > 0 else [f"{step.id} sets the learning rate to {params.learning_rate}"]
    )


def _cause_of(event: Mapping[str, object]) -> Cause:
    word = str(event.get("cause")).split(":")[0]
    causes: tuple[Cause, ...] = get_args(Cause)
    return next(cause for cause in causes if cause == word)


def _shown(id: str, params: ChunkParams) -> str:
    if id == "T1":
        return f"batch {params.batch_size_per_gpu}"
    if id == "T6":
        return "unchanged"
    return f"rate {params.learning_rate:.3g}"
