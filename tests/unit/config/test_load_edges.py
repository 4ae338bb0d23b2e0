"""Limits and whole sentences of the resolved settings. ``pytest tests/unit/config/test_load_edges.py``"""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.config.load import Settings, effective_batch, resolve_nproc, resolve_settings
from tinyworlds_gate.errors import ConfigError


@pytest.fixture(scope="module")
def smoke() -> Settings:
    return resolve_settings("smoke", {}, project_root=REPOSITORY)


@pytest.mark.parametrize(
    ("requested", "explicit", "gpus", "device", "found"),
    [
        (2, True, 0, "cpu", (2, "")),
        (2, True, 1, "cpu", (2, "")),
        (2, True, 0, "auto", (2, "")),
        (2, True, 2, "auto", (2, "")),
        (1, False, 2, "cuda", (1, "")),
        (3, False, 2, "auto", (2, "nproc_per_node is 2, the GPUs present, instead of 3; H6 is then NOT-RUN.")),
        (1, False, 0, "cuda:0", "device is 'cuda:0', but this machine has no NVIDIA GPU; set device to auto or cpu."),
        (
            *(3, True, 2, "cuda"),
            "--nproc-per-node 3 needs 3 NVIDIA GPUs, found 2; set it to at most 2, or leave it out to use all of them.",
        ),
    ],
)
def test_the_workers_of_a_machine(requested: int, explicit: bool, gpus: int, device: str, found: Any) -> None:
    if isinstance(found, tuple):
        assert resolve_nproc(requested, explicit, gpus, device) == found
        return
    with pytest.raises(ConfigError, match=f"^{re.escape(found)}$"):
        resolve_nproc(requested, explicit, gpus, device)


@pytest.mark.requirement("P1", "P2")
def test_fewer_gpus_change_the_workers_and_their_sources(smoke: Settings) -> None:
    assert smoke.with_gpus(2) is smoke
    one = smoke.with_gpus(1)
    assert (one.training.nproc_per_node, one.training.distributed.use_ddp) == (1, False)
    assert one.provenance["training.distributed.use_ddp"] == "nproc_per_node is 1"
    assert one.notes[-1].startswith("nproc_per_node is 1, the GPUs present, instead of 2")
    nodes = resolve_settings("smoke", {"nnodes": 2}, project_root=REPOSITORY).with_gpus(1)
    assert nodes.training.distributed.use_ddp is True
    assert nodes.provenance["training.distributed.use_ddp"] == smoke.provenance["training.distributed.use_ddp"]
    assert nodes.effective_batch("dynamics") == one.effective_batch("dynamics") * 2
    assert (effective_batch(3, 5, 7), effective_batch(3, 5, 7, 2)) == (105, 210)


@pytest.mark.requirement("P1", "T2")
def test_a_retune_replaces_values_of_one_stage(smoke: Settings) -> None:
    changed = smoke.with_retune("dynamics", {"learning_rate": (1.0, 0.5), "log_interval": 3}, "retune T4")
    stage = changed.stages["dynamics"]
    assert (stage.learning_rate, stage.log_interval) == (0.5, 3)
    assert changed.stages["latent_actions"] == smoke.stages["latent_actions"]
    assert changed.source_of("dynamics", "log_interval") == "retune T4"
    assert changed.source_of("dynamics", "n_updates") == smoke.source_of("dynamics", "n_updates")
    with pytest.raises(ConfigError, match=r"^retune T4 of dynamics: `log_interval` is 0; "):
        smoke.with_retune("dynamics", {"log_interval": 0}, "retune T4")


def test_paths_and_sizes_of_the_settings(smoke: Settings) -> None:
    given = resolve_settings(
        "smoke", {"video_checkpoint": "results/a", "train_stage": "dynamics"}, project_root=REPOSITORY
    )
    assert given.checkpoint_option("video_tokenizer") == REPOSITORY / "results/a"
    assert given.checkpoint_option("dynamics") is None
    assert given.trained_stages == ("dynamics",)
    assert smoke.sizes_of("dynamics")["embed_dim"] == smoke.training.embed_dim
    assert smoke.backbones == {}
    assert smoke.config_dir == smoke.profile_path.parent
    assert smoke.plan("dynamics") == smoke.profile.stages.dynamics


@pytest.mark.requirement("P1", "H7")
def test_a_resumed_checkpoint_beats_the_files_and_an_option_both() -> None:
    resumed = {"stages.dynamics.learning_rate": 0.25}
    taken = resolve_settings("smoke", {}, resumed, project_root=REPOSITORY)
    assert taken.stages["dynamics"].learning_rate == 0.25
    assert taken.source_of("dynamics", "learning_rate") == "resumed checkpoint"
    both = resolve_settings("smoke", {"init_learning_rate": 0.5}, resumed, project_root=REPOSITORY)
    assert both.stages["dynamics"].learning_rate == 0.5


@pytest.mark.requirement("S2")
def test_a_limit_that_no_model_could_meet_is_refused() -> None:
    codes = resolve_settings("smoke", {}, project_root=REPOSITORY).training.n_actions
    key = "profile.thresholds.stage_gates.latent_actions"
    for name, allowed, refused, most in (
        ("min_unique_actions", codes, codes + 1, f"{codes:.3g}"),
        ("min_action_entropy_nats", math.log(codes), math.log(codes) + 0.01, f"{math.log(codes):.3g}"),
    ):
        resolve_settings("smoke", {}, {f"{key}.{name}": allowed}, project_root=REPOSITORY)
        said = (
            f"{name}={refused:g} (resumed checkpoint): {codes} action codes (n_actions) have at most {most}, so "
            f"that no "
            f"model could pass the gate of latent_actions; lower {name} or raise n_actions"
        )
        with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
            resolve_settings("smoke", {}, {f"{key}.{name}": refused}, project_root=REPOSITORY)
