"""Rules between command-line options: which combinations are refused, and which have no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.config.rendezvous import nodes_problems
from tinyworlds_gate.names import SHORT_NAMES

if TYPE_CHECKING:
    pass


TRAINING_OPTIONS = (
    "target_updates",
    "init_batch_size",
    "init_grad_accum",
    "init_learning_rate",
    "init_log_interval",
    "keep_checkpoints",
)
"""General options that mean nothing when no stage trains."""


def validate(options: Mapping[str, Any]) -> list[str]:
    """What is wrong with a combination of explicit options, a sentence each; none when it is fine."""
    problems: list[str] = []
    train = options.get("train_stage", "all")
    policy = options.get("checkpoint_policy", "fresh")
    trained = set(SHORT_NAMES.values()) if train == "all" else {train} - {"none"}
    problems += nodes_problems(options)
    problems += _without_effect(options, train, trained)
    if policy == "fresh":
        needed = {"none": ("video", "latent", "dynamics"), "dynamics": ("video", "latent")}.get(train, ())
        missing = [f"--{short}-checkpoint" for short in needed if f"{short}_checkpoint" not in options]
        if missing:
            problems.append(
                f"--train-stage {train} does not train the other models, so it needs {', '.join(missing)} (a …_step_n "
                "folder or its checkpoints/ parent), or --checkpoint-policy latest."
            )
    if options.get("checkpoint_policy") == "fresh":
        for short, stage in SHORT_NAMES.items():
            if stage in trained and f"{short}_checkpoint" in options:
                problems.append(
                    f"--checkpoint-policy fresh starts {stage} from new weights, but --{short}-checkpoint "
                    f"{options[f'{short}_checkpoint']} names a start; leave out one of the two."
                )
    floor, start = options.get("retry_lr_floor"), options.get("retry_init_learning_rate")
    if floor is not None and start is not None and floor > start:
        problems.append(
            f"--retry-lr-floor {floor:g} lies above --retry-init-learning-rate {start:g}; give a floor "
            f"of at most {start:g}."
        )
    return problems


def _without_effect(options: Mapping[str, Any], train: str, trained: set[str]) -> list[str]:
    useless = [name for name in TRAINING_OPTIONS if name in options and not trained]
    for short, stage in SHORT_NAMES.items():
        own = (f"{short}_chunk", *(f"{short}_{name}" for name in TRAINING_OPTIONS))
        useless += [name for name in own if name in options and stage not in trained]
    return [
        f"--{name.replace('_', '-')} {options[name]} has no effect with --train-stage {train}, which does not train "
        "that stage; leave it out or train the stage (--train-stage all or its name)."
        for name in useless
    ]
