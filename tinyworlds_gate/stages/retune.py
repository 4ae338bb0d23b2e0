"""T1–T7: what is changed after a failure, and when the loop stops trying. Pure functions over plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tinyworlds_gate.config.load import effective_batch
from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.config.schema import StageConfig

Cause = Literal[
    "out_of_memory",
    "runtime_error",
    "setup_error",
    "timeout",
    "stage_gate",
    "guard",
    "killed",
    "node_lost",
    "missing_evidence",
]
"""Why a chunk did not count: the journal's causes, and ``stage_gate`` for a verdict that asks to retune."""

RUNTIME_CAUSES: tuple[Cause, ...] = ("out_of_memory", "runtime_error", "timeout")
"""T1; a hang that the watchdog ended counts as a runtime failure."""

SETUP_ERROR: Cause = "setup_error"
"""T1: an exception that no batch size can mend. It is tried once more with the same parameters."""

NOT_THE_TRAINING: Mapping[Cause, str] = {
    "guard": "A guard failed, not the training",
    "node_lost": "Another machine was lost, the training did not fail",
    "killed": "Somebody ended the chunk from outside, the training did not fail",
    "missing_evidence": "The training ended normally and part of its evidence is missing",
}
"""T6: no knob of the optimizer would help, and turning one would change the weights."""

LEARNING_RATE_FLOOR = 1e-9
"""Below this nothing moves in float32; it keeps a very long ladder from reaching zero."""


@dataclass(frozen=True)
class ChunkParams:
    """The parameters that a retune may change."""

    batch_size_per_gpu: int
    gradient_accumulation_steps: int
    learning_rate: float
    log_interval: int

    @classmethod
    def of(cls, config: StageConfig) -> ChunkParams:
        """The parameters of a stage by its current settings."""
        return cls(
            config.batch_size_per_gpu, config.gradient_accumulation_steps, config.learning_rate, config.log_interval
        )


@dataclass(frozen=True)
class Retune:
    """The retune after one failed chunk."""

    id: str
    """T1, T2, T3, T4 or T6."""
    stage: str
    cause: Cause
    proceed: bool
    """False: the loop gives up; ``reason`` says why."""
    reason: str
    params: ChunkParams
    """The parameters of the next try."""
    changes: Mapping[str, tuple[float, float]]
    """Key → (old, new), only what changed."""
    effective_batch: tuple[int, int]
    """P2, H9: before and after, also when nothing changed."""
    degraded: bool
    """H8: this retune brought batch_size_per_gpu down to 1."""


def plan_retune(
    stage: str,
    cause: Cause,
    params: ChunkParams,
    *,
    retries_used: int,
    max_train_retries: int,
    nproc_per_node: int,
    nodes: int = 1,
    hopeless: str | None = None,
) -> Retune:
    """The next try after a failed chunk: its parameters, or the decision to stop.

    Never below a floor (batch 1, accumulation 1, log interval 500 or 250 unless it already was lower, learning rate
    1e-9), and never more
    than ``max_train_retries`` tries of one stage.

    Args:
        retries_used: retunes of this stage so far in this run.
        hopeless: why another try cannot succeed; None if one can.

    Raises:
        ValueError: the stage is none of the three.
    """
    rule, new, what = _ladder(stage, cause, params)
    budget_left = retries_used < max_train_retries
    proceed, reason = budget_left, what
    if hopeless is not None:
        proceed, new, reason = False, params, hopeless
    elif not budget_left:
        new = params
        reason = (
            f"The budget is spent: {stage} was retuned {retries_used} times (--max-train-retries {max_train_retries})."
        )
    elif cause == "out_of_memory" and new == params:
        proceed = False
    old_batch, new_batch = (
        effective_batch(p.batch_size_per_gpu, p.gradient_accumulation_steps, nproc_per_node, nodes)
        for p in (params, new)
    )
    return Retune(
        id=rule,
        stage=stage,
        cause=cause,
        proceed=proceed,
        reason=reason,
        params=new,
        changes=_changes(params, new),
        effective_batch=(old_batch, new_batch),
        degraded=new.batch_size_per_gpu == 1 and params.batch_size_per_gpu > 1,
    )


def _ladder(stage: str, cause: Cause, params: ChunkParams) -> tuple[str, ChunkParams, str]:
    """The rule that applies, the parameters after it, and the sentence that explains it."""
    if cause in NOT_THE_TRAINING:
        return "T6", params, f"{NOT_THE_TRAINING[cause]}: the chunk is tried again with the same parameters."
    if cause == SETUP_ERROR:
        return "T1", params, "The error does not depend on the batch size: tried once more with the same parameters."
    if cause in RUNTIME_CAUSES:
        return _halve_batch(cause, params)
    accum, interval = params.gradient_accumulation_steps, params.log_interval
    if stage == "video_tokenizer":
        rule, factor, accum, floor = "T2", 0.5, accum + 1, 500
    elif stage == "latent_actions":
        rule, factor, floor = "T3", 0.8, 250
    elif stage == "dynamics":
        rule, factor, accum, floor = "T4", 0.2, max(1, accum - 1), 500
    else:
        raise ValueError(f"{stage!r} is no stage")
    new = replace(
        params,
        learning_rate=max(params.learning_rate * factor, min(params.learning_rate, LEARNING_RATE_FLOOR)),
        gradient_accumulation_steps=accum,
        log_interval=min(interval, max(floor, interval // 2)),
    )
    what = f"The stage gate asked for a retune: learning rate {params.learning_rate:.3g} → {new.learning_rate:.3g}"
    if accum != params.gradient_accumulation_steps:
        what += f", accumulation {params.gradient_accumulation_steps} → {accum}"
    if new.log_interval != interval:
        what += f", log interval {interval} → {new.log_interval}"
    return rule, new, what + "."


def _halve_batch(cause: Cause, params: ChunkParams) -> tuple[str, ChunkParams, str]:
    batch = params.batch_size_per_gpu
    new = replace(params, batch_size_per_gpu=max(1, batch // 2))
    said = cause.replace("_", " ")
    if new == params:
        if cause == "out_of_memory":
            return (
                "T1",
                params,
                "Out of memory at batch_size_per_gpu 1, the floor: a smaller model or more memory is needed.",
            )
        return "T1", params, f"A {said} at batch_size_per_gpu 1, the floor: tried again with the same parameters."
    return "T1", new, f"After {said}: batch_size_per_gpu {batch} → {new.batch_size_per_gpu}."


def _changes(old: ChunkParams, new: ChunkParams) -> dict[str, tuple[float, float]]:
    pairs = {key: (value, getattr(new, key)) for key, value in vars(old).items()}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class RetryPlan:
    """T5: the next training of dynamics after a failed inference gate."""

    retry: int
    """k = 0, 1, …"""
    learning_rate: float
    from_update: int
    """Updates that the continued checkpoint has had."""
    to_update: int
    """The new absolute target."""


def plan_inference_retry(k: int, from_update: int, target_updates: int, retry: RetryPlanConfig) -> RetryPlan | None:
    """T5: continue dynamics to the target plus one retry chunk at ``init_learning_rate * lr_decay**k``, floored.

    Args:
        k: retries made so far.
        from_update: updates of the latest valid dynamics checkpoint.
        target_updates: dynamics' target so far, raised by earlier retries.

    Returns:
        The plan, or None when the budget (``retry.max``) is spent.

    Raises:
        ValueError: a count is negative, or the checkpoint lies beyond the new target.
    """
    if k < 0 or from_update < 0 or target_updates < 1:
        raise ValueError(f"counts must not be negative: k={k}, from_update={from_update}, target={target_updates}")
    if k >= retry.max:
        return None
    to_update = target_updates + retry.chunk
    if from_update >= to_update:
        raise ValueError(f"the checkpoint has {from_update} updates already, the retry's target is {to_update}")
    rate = max(retry.lr_floor, retry.init_learning_rate * retry.lr_decay**k)
    return RetryPlan(retry=k, learning_rate=rate, from_update=from_update, to_update=to_update)


@dataclass(frozen=True)
class RetrainDecision:
    """T5 and T7: whether dynamics may be retrained after a failed gate, and why or why not."""

    allowed: bool
    reason: str


def should_retrain(tokenizer_recon_mse: float | None, max_mse: float) -> RetrainDecision:
    """T7: dynamics cannot get below the tokenizer's own reconstruction error, so a poor tokenizer comes first.

    Args:
        tokenizer_recon_mse: on the gate's clips, frames in [0, 1]; None when it was not measured.
    """
    advice = "Improve the tokenizer first, then retrain latent actions and dynamics on it."
    if tokenizer_recon_mse is None:
        return RetrainDecision(True, "The tokenizer's own error was not measured; dynamics is retrained.")
    if not math.isfinite(tokenizer_recon_mse):
        return RetrainDecision(False, f"The tokenizer's own error is {tokenizer_recon_mse}: it is broken. {advice}")
    if tokenizer_recon_mse > max_mse:
        return RetrainDecision(
            False,
            f"The tokenizer's own reconstruction error {tokenizer_recon_mse:.4g} is above {max_mse:g}, so no dynamics "
            f"model on it can pass. {advice}",
        )
    return RetrainDecision(
        True,
        f"The tokenizer's own error {tokenizer_recon_mse:.4g} leaves room under {max_mse:g}; dynamics is retrained.",
    )
