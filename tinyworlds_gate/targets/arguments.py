"""Build the ``key=value`` arguments of a checkout's stages and inference (pure; docs/external-checkouts.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import renamed

PASSED_ON = ("batch_size_per_gpu", "learning_rate", "gradient_accumulation_steps")
"""Stage parameters that are passed on unchanged."""


def stage_arguments(
    target: Target,
    knobs: Mapping[str, object],
    *,
    n_updates: int,
    log_interval: int,
    on_cpu: bool,
    start: int = 0,
    checkpoint: Path | None = None,
    inputs: Mapping[str, Path] | None = None,
    backbone: Mapping[str, int] | None = None,
    compiles: bool = False,
    dataset: str | None = None,
) -> dict[str, object]:
    """Return the arguments of one chunk, under the target's own keys; those of ``--target-file`` take precedence.

    Args:
        knobs: of ``PASSED_ON``.
        n_updates: absolute updates at the end of the chunk.
        log_interval: as configured; adapted if the last update would not be saved (hazard 5) or no picture drawn (12).
        start: the first update of the chunk.
        checkpoint: the checkpoint to resume from, for a target that can resume.
        inputs: the two models that dynamics needs: stage → checkpoint folder.
        compiles: its settings file sets ``compile: true``.
        backbone: under ``--align-backbone inject``, the backbone of every stage.
        dataset: that of ``--dataset``; None leaves the one of its settings files.
    """
    arguments: list[tuple[str, object]] = [("n_updates", n_updates), *((key, knobs[key]) for key in PASSED_ON)]
    arguments.append(("log_interval", saving_interval(target, start, n_updates, log_interval)))
    if not (target.can.trains_without_wandb and target.can.writes_history):
        arguments.append(
            ("use_wandb", True)
        )  # hazard 4, and the source of the history; the environment sets offline mode
    if on_cpu:
        arguments.append(("device", "cpu"))
        if compiles:
            arguments.append(("compile", False))  # reduce-overhead is for CUDA, and compiling takes minutes
    if checkpoint is not None:
        arguments.append(("checkpoint", checkpoint))
    arguments += [(f"{stage}_path", path) for stage, path in (inputs or {}).items()]
    arguments += (backbone or {}).items()
    if dataset is not None:
        arguments.append(("dataset", dataset))
    return {**renamed(target, arguments), **target.arguments.training}


def saving_interval(target: Target, start: int, n_updates: int, log_interval: int) -> int:
    """Return a log interval with which the chunk saves its last update (``n_updates − 1``) and draws a picture.

    As configured if the target always saves the last update and the interval divides a step of the chunk. Otherwise
    the largest divisor of the last step up to the configured interval; if that is less than a quarter of the interval,
    the last step itself (saves and draws only the first and the last).
    """
    last = n_updates - 1
    if last == 0 or (target.can.saves_last_update and draws_picture(start, n_updates, log_interval)):
        return log_interval
    divisors = {low for low in range(1, int(last**0.5) + 1) if last % low == 0}
    divisors |= {last // low for low in divisors}
    best = max(one for one in divisors if one <= max(1, log_interval))
    return best if 4 * best >= min(log_interval, last) else last


def draws_picture(start: int, n_updates: int, log_interval: int) -> bool:
    """Return whether the interval divides a step of the chunk, so that a checkout draws there (hazard 12)."""
    return -(-start // log_interval) * log_interval < n_updates


def interval_on_command_line(target: Target, start: int, n_updates: int, log_interval: int) -> int:
    """Return the log interval that the chunk's command line sets: that of ``--target-file``, else the fitted one."""
    fitted = saving_interval(target, start, n_updates, log_interval)
    (key,) = renamed(target, [("log_interval", fitted)])
    value = target.arguments.training.get(key, fitted)
    return value if isinstance(value, int) and value > 0 else fitted


def inference_arguments(
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
    """Return the arguments of the target's own inference, with explicit checkpoints of this run (hazard 3)."""
    arguments: list[tuple[str, object]] = [
        ("use_latest_checkpoints", False),
        ("dataset", dataset),
        ("device", "cpu" if on_cpu else "cuda"),
        ("use_actions", target.can.infers_actions),
        ("use_gt_actions", target.can.infers_actions),  # its own file may set true, and then random actions follow
        ("use_interactive_mode", False),
        ("teacher_forced", teacher_forced),
        ("context_window", context_window),
        ("prediction_horizon", prediction_horizon),
        ("generation_steps", generation_steps),
        ("temperature", temperature),
    ]
    if target.can.seeds_inference:
        arguments += [("decode_steps", decode_steps), ("seed", seed), ("sample_index", 0)]
    arguments += [(f"{stage}_path", path) for stage, path in checkpoints.items()]
    return {**renamed(target, arguments), **target.arguments.inference}
