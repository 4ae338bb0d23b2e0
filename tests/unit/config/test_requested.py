"""What the options of a run request, and the requirements that they leave out.

pytest tests/unit/config/test_requested.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.config.cli_options import OPTION_NAMED
from tinyworlds_gate.config.requested import (
    LEFT_OUT_BY,
    OF_INFERENCE,
    OF_TRAINING,
    inference_requested,
    left_out,
    scope,
)
from tinyworlds_gate.reports.requirements import REQUIREMENTS

VIDEO = {"video_checkpoint": "results/a/video_tokenizer/checkpoints"}
LATENT = {"latent_checkpoint": "results/b/latent_actions/checkpoints"}
DYNAMICS = {"dynamics_checkpoint": "results/c/dynamics/checkpoints"}


@pytest.mark.parametrize(
    ("options", "requested"),
    [
        ({}, True),
        ({"train_stage": "all"}, True),
        ({"train_stage": "video_tokenizer"}, False),
        ({"train_stage": "video_tokenizer", **VIDEO}, False),
        ({"train_stage": "video_tokenizer", **LATENT, **DYNAMICS}, True),
        ({"train_stage": "latent_actions", **VIDEO}, False),
        ({"train_stage": "dynamics", **VIDEO, **LATENT}, True),
        ({"train_stage": "none", **VIDEO, **LATENT, **DYNAMICS}, True),
        ({"train_stage": "none", "checkpoint_policy": "latest"}, True),
        ({"train_stage": "dynamics", "checkpoint_policy": "latest"}, True),
        ({"train_stage": "video_tokenizer", "checkpoint_policy": "latest"}, False),
    ],
)
def test_the_gate_is_requested_where_every_stage_is_trained_or_supplied(
    options: dict[str, Any], requested: bool
) -> None:
    assert inference_requested(options) is requested
    assert ("G5" in left_out(options)) is not requested


def test_the_whole_loop_leaves_nothing_out() -> None:
    defaults = {"train_stage": "all", "checkpoint_policy": "fresh", "enable_wandb_analysis": True, "nproc_per_node": 2}
    assert left_out({}) == left_out(defaults) == {}


@pytest.mark.requirement("H1")
def test_a_single_stage_leaves_out_the_others_and_keeps_its_own_requirements() -> None:
    found = left_out({"train_stage": "latent_actions"})
    assert found["S1"] == found["S3"] == found["H1"] == "--train-stage latent_actions"
    assert {"S2", "S4", "S5", "P1", "M1", "L2", "H5", "H6", "L9", "A1", "A4", "H4"} & set(found) == set()
    nothing = left_out({"train_stage": "none", **VIDEO, **LATENT, **DYNAMICS})
    assert set(nothing) == {"H1", "H2", "S1", "S2", "S3", "L9", "A3", "A4", *OF_TRAINING}


def test_options_and_requirements_of_the_table_exist() -> None:
    for name, _, ids in LEFT_OUT_BY:
        assert name in OPTION_NAMED
        assert set(ids) <= set(REQUIREMENTS)
    stages = [left_out({"train_stage": stage}) for stage in ("video_tokenizer", "latent_actions", "dynamics", "none")]
    assert set().union(*stages) <= set(REQUIREMENTS)


def test_a_start_leaves_out_new_weights_by_its_own_option() -> None:
    assert left_out(VIDEO) == {"H2": "--video-checkpoint results/a/video_tokenizer/checkpoints"}
    assert left_out({"nproc_per_node": 1}) == {"H6": "--nproc-per-node 1"}
    assert left_out({"cleanup_extra_processes": False}) == {"L1": "--cleanup-extra-processes false"}


@pytest.mark.parametrize(
    ("stage", "text"), [(None, ""), ("all", ""), ("none", "no training"), ("dynamics", "stage dynamics")]
)
def test_the_scope_names_what_a_run_was_limited_to(stage: str | None, text: str) -> None:
    assert scope({} if stage is None else {"train_stage": stage}) == text


def by(option: str, *ids: str) -> dict[str, str]:
    return dict.fromkeys(ids, option)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"checkpoint_policy": "latest"}, by("--checkpoint-policy latest", "H2")),
        ({"enforce_dual_gpu_check": False}, by("--enforce-dual-gpu-check false", "H6")),
        ({"allow_cpu_longrun": True}, by("--allow-cpu-longrun true", "L3", "H6")),
        ({"allow_cpu_longrun": False, "nproc_per_node": 3}, {}),
        ({"enable_wandb_analysis": False}, by("--enable-wandb-analysis false", "L9", "A3", "A4")),
        ({"enable_wandb_analysis": None, "nproc_per_node": None, "train_stage": None}, {}),
        ({**LATENT, **DYNAMICS}, by(f"--latent-checkpoint {LATENT['latent_checkpoint']}", "H2")),
        (
            {"train_stage": "dynamics", **VIDEO, **LATENT},
            {
                **by(f"--video-checkpoint {VIDEO['video_checkpoint']}", "H2"),
                **by("--train-stage dynamics", "H1", "S1", "S2"),
            },
        ),
        (
            {"train_stage": "video_tokenizer"},
            by("--train-stage video_tokenizer", "H1", "S2", "S3", *OF_INFERENCE),
        ),
        (
            {"train_stage": "none", "checkpoint_policy": "latest"},
            {
                **by("--checkpoint-policy latest", "H2"),
                **by("--train-stage none", "H1", "S1", "S2", "S3", *OF_TRAINING, "L9", "A3", "A4"),
            },
        ),
    ],
)
def test_each_option_leaves_out_its_requirements(options: dict[str, Any], found: dict[str, str]) -> None:
    assert left_out(options) == found
