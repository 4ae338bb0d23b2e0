"""Rules between command-line options: combinations that are errors, and options that would have no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.config.cli_options import OPTIONS, Option
from tinyworlds_gate.config.rendezvous import nodes_problems
from tinyworlds_gate.names import SHORT_NAMES


def validate(options: Mapping[str, Any]) -> list[str]:
    """Return the problems of a combination of explicit options, one sentence each."""
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
                    f"{options[f'{short}_checkpoint']} names a checkpoint to start from; remove one of the two."
                )
    floor, start = options.get("retry_lr_floor"), options.get("retry_init_learning_rate")
    if floor is not None and start is not None and floor > start:
        problems.append(
            f"--retry-lr-floor {floor:g} is above --retry-init-learning-rate {start:g}; set the floor to "
            f"at most {start:g}."
        )
    problems += [
        f"--{name.replace('_', '-')} {str(options[name]).lower()} judges the run against a baseline; name one: "
        "--baseline docs/baseline.json (`tinyworlds-gate accept` writes it)."
        for name in ("fail_on", "require_better")
        if options.get(name) and "baseline" not in options
    ]
    return problems


def _without_effect(options: Mapping[str, Any], train: str, trained: set[str]) -> list[str]:
    def trains_nothing(option: Option) -> bool:
        return option.stage not in trained if option.stage else option.is_general and not trained

    return [
        f"{option.flag} {options[option.name]} has no effect with --train-stage {train}, which does not train that "
        "stage; leave it out or train the stage (--train-stage all or its name)."
        for option in OPTIONS
        if option.name in options and trains_nothing(option)
    ]
