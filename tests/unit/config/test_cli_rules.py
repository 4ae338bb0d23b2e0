"""Combinations of options that are errors, each in one sentence. ``pytest tests/unit/config/test_cli_rules.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.config.cli_rules import validate

VIDEO, LATENT, DYNAMICS = ({f"{short}_checkpoint": f"{short[0]}"} for short in ("video", "latent", "dynamics"))
NEEDS = (
    "--train-stage {} does not train the other models, so it needs {} (a …_step_n folder or its checkpoints/ "
    "parent), or "
    "--checkpoint-policy latest."
)
FRESH = (
    "--checkpoint-policy fresh starts {} from new weights, but --{}-checkpoint {} names a checkpoint to start from; "
    "remove "
    "one of the two."
)
NO_EFFECT = (
    "{} has no effect with --train-stage {}, which does not train that stage; leave it out or train the stage "
    "(--train-stage all or its name)."
)


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({}, []),
        ({"train_stage": "all"}, []),
        ({"train_stage": "video_tokenizer"}, []),
        (
            {"train_stage": "none"},
            [NEEDS.format("none", "--video-checkpoint, --latent-checkpoint, --dynamics-checkpoint")],
        ),
        ({"train_stage": "none", **VIDEO, **DYNAMICS}, [NEEDS.format("none", "--latent-checkpoint")]),
        ({"train_stage": "none", **VIDEO, **LATENT, **DYNAMICS}, []),
        ({"train_stage": "none", "checkpoint_policy": "latest"}, []),
        ({"train_stage": "dynamics", **VIDEO}, [NEEDS.format("dynamics", "--latent-checkpoint")]),
        ({"train_stage": "dynamics", "checkpoint_policy": "latest"}, []),
        ({**VIDEO, **DYNAMICS}, []),
        ({"checkpoint_policy": "latest", **VIDEO}, []),
        (
            {"checkpoint_policy": "fresh", **VIDEO, **DYNAMICS},
            [FRESH.format("video_tokenizer", "video", "v"), FRESH.format("dynamics", "dynamics", "d")],
        ),
        (
            {"checkpoint_policy": "fresh", "train_stage": "dynamics", **VIDEO, **LATENT, **DYNAMICS},
            [FRESH.format("dynamics", "dynamics", "d")],
        ),
        ({"checkpoint_policy": "fresh", "train_stage": "none", **VIDEO, **LATENT, **DYNAMICS}, []),
        ({"retry_lr_floor": 0.1, "retry_init_learning_rate": 0.1}, []),
        ({"retry_lr_floor": 0.1}, []),
        ({"retry_init_learning_rate": 0.1}, []),
        (
            {"retry_lr_floor": 0.2, "retry_init_learning_rate": 0.1},
            ["--retry-lr-floor 0.2 is above --retry-init-learning-rate 0.1; set the floor to at most 0.1."],
        ),
        ({"video_chunk": 5}, []),
        ({"video_chunk": 5, "train_stage": "video_tokenizer"}, []),
        ({"video_chunk": 5, "train_stage": "latent_actions"}, [NO_EFFECT.format("--video-chunk 5", "latent_actions")]),
        ({"init_batch_size": 5, "train_stage": "latent_actions"}, []),
        (
            {"init_batch_size": 5, "train_stage": "none", "checkpoint_policy": "latest"},
            [NO_EFFECT.format("--init-batch-size 5", "none")],
        ),
        ({"max_mse": 0.1, "train_stage": "none", "checkpoint_policy": "latest"}, []),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], problems: list[str]) -> None:
    assert validate(options) == problems


def test_problems_of_several_machines_come_first() -> None:
    both = validate({"node_rank": 1, "retry_lr_floor": 0.2, "retry_init_learning_rate": 0.1})
    assert [one.split(" ")[0] for one in both] == ["--node-rank", "--retry-lr-floor"]


@pytest.mark.parametrize("name", ["fail_on", "require_better"])
def test_a_condition_on_the_baseline_needs_one(name: str) -> None:
    given = {"fail_on": "worse", "require_better": True}[name]
    (problem,) = validate({name: given})
    assert "--baseline docs/baseline.json" in problem
    assert validate({name: given, "baseline": "docs/baseline.json"}) == []
    assert validate({"require_better": False}) == []
