"""The ``key=value`` words of a checkout's stages and inference, by what it can do (pure; tinyworlds.md §2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import renamed

PASSED_ON = ("batch_size_per_gpu", "learning_rate", "gradient_accumulation_steps")
"""Knobs of a stage that go to its command line as they are."""


def stage_words(
    target: Target,
    knobs: Mapping[str, object],
    *,
    n_updates: int,
    log_interval: int,
    on_cpu: bool,
    checkpoint: Path | None = None,
    inputs: Mapping[str, Path] | None = None,
) -> dict[str, object]:
    """The words of one chunk, under the target's own keys; what ``--target-file`` adds comes last and wins.

    Args:
        target: a checkout.
        knobs: of ``PASSED_ON``.
        n_updates: absolute updates at the end of the chunk.
        log_interval: as configured; fitted to the chunk where the last update would be lost (hazard 5).
        on_cpu: no GPU is there, or none is to be used.
        checkpoint: where a target that can resume goes on.
        inputs: dynamics' two models: stage → checkpoint folder.
    """
    words: list[tuple[str, object]] = [("n_updates", n_updates), *((key, knobs[key]) for key in PASSED_ON)]
    words.append(("log_interval", saving_interval(target, n_updates, log_interval)))
    if not (target.can.trains_without_wandb and target.can.writes_history):
        words.append(("use_wandb", True))  # hazard 4, and where the history is; the environment makes it offline
    if on_cpu:
        words.append(("device", "cpu"))
    if checkpoint is not None:
        words.append(("checkpoint", checkpoint))
    words += [(f"{stage}_path", path) for stage, path in (inputs or {}).items()]
    return {**renamed(target, words), **target.words.training}


def saving_interval(target: Target, n_updates: int, log_interval: int) -> int:
    """The log interval with which the last update (``n_updates − 1``) is saved.

    Where the target saves it anyway: as configured. Else the largest divisor of the last step that is at most the
    configured interval; where that would save far more often (less than a quarter of it), only the first and the last.
    """
    last = n_updates - 1
    if target.can.saves_last_update or last == 0:
        return log_interval
    divisors = {low for low in range(1, int(last**0.5) + 1) if last % low == 0}
    divisors |= {last // low for low in divisors}
    best = max(one for one in divisors if one <= max(1, log_interval))
    return best if 4 * best >= min(log_interval, last) else last


def inference_words(
    target: Target,
    checkpoints: Mapping[str, Path],
    *,
    dataset: str,
    on_cpu: bool,
    teacher_forced: bool,
    context_window: int,
    prediction_horizon: int,
    generation_steps: int,
    decode_steps: int,
    temperature: float,
    seed: int,
) -> dict[str, object]:
    """The words of the target's own inference: this run's checkpoints by name, never a search (hazard 3)."""
    words: list[tuple[str, object]] = [
        ("use_latest_checkpoints", False),
        ("dataset", dataset),
        ("device", "cpu" if on_cpu else "cuda"),
        ("use_actions", target.can.infers_actions),
    ]
    if target.can.infers_actions:
        words.append(("use_gt_actions", True))
    words += [
        ("use_interactive_mode", False),
        ("teacher_forced", teacher_forced),
        ("context_window", context_window),
        ("prediction_horizon", prediction_horizon),
        ("generation_steps", generation_steps),
        ("temperature", temperature),
    ]
    if target.can.seeds_inference:
        words += [("decode_steps", decode_steps), ("seed", seed), ("sample_index", 0)]
    words += [(f"{stage}_path", path) for stage, path in checkpoints.items()]
    return {**renamed(target, words), **target.words.inference}
