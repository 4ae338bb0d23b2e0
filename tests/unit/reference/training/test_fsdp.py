"""FSDP2 on two gloo workers: the same losses as DDP, and checkpoints that resume with and without sharding.

python -m pytest tests/unit/reference/training/test_fsdp.py
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.tiny_stages import TinyStages, trained_stages
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.config.schema import StageConfig, TrainingConfig
from tinyworlds_gate.config.stage_config import require_supported_stage
from tinyworlds_gate.errors import ConfigError

FSDP = {"distributed.use_fsdp": True}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    """A project with dynamics trained by DDP in the run ``whole`` and by FSDP2 in the run ``sharded``."""
    stages = trained_stages(tmp_path_factory)
    if not stages.run_root("sharded").exists():
        done = stages.train("dynamics", "sharded", inputs_of(stages, "dynamics") | FSDP, workers=2)
        assert done.exit_code == 0, done.output
        (stages.root / "sharded.log").write_text(done.output, encoding="utf-8")
    return stages


def inputs_of(project: TinyStages, stage: str) -> dict[str, object]:
    if stage != "dynamics":
        return {}
    return dict(project.checkpoints("whole", 11, "video_tokenizer", "latent_actions"))


def losses(project: TinyStages, run: str, stage: str) -> list[float]:
    with project.history(run, stage).open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


def loaded(folder: Path, name: str) -> Any:
    return torch.load(folder / name, weights_only=True)


def assert_close(one: Any, other: Any, tolerance: float) -> None:
    """Assert that two states have the same names and shapes, and values within the tolerance."""
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key], tolerance)
    elif isinstance(one, list | tuple):
        for first, second in zip(one, other, strict=True):
            assert_close(first, second, tolerance)
    else:
        assert one == other


def test_sharded_training_has_the_losses_of_ddp(project: TinyStages) -> None:
    assert losses(project, "sharded", "dynamics") == pytest.approx(losses(project, "whole", "dynamics"), rel=1e-5)


def test_each_rank_keeps_about_half_of_the_weights(project: TinyStages) -> None:
    text = (project.root / "sharded.log").read_text()
    found = re.search(r"sharded by FSDP2, without CUDA graphs: rank 0 holds (\d+) of (\d+) weights", text)
    assert found is not None, text
    assert 0.5 <= int(found[1]) / int(found[2]) <= 0.55
    assert int(found[2]) == verify_checkpoint(project.checkpoint("whole", "dynamics", 11)).parameters


def test_a_sharded_checkpoint_holds_whole_tensors_as_one_of_ddp_does(project: TinyStages) -> None:
    sharded, whole = (project.checkpoint(run, "dynamics", 11) for run in ("sharded", "whole"))
    assert verify_checkpoint(sharded).parameters == verify_checkpoint(whole).parameters
    for name in ("model_state_dict.pt", "optim_state_dict.pt"):
        assert_close(loaded(sharded, name), loaded(whole, name), 1e-4)
    ranks = loaded(sharded, "state.pt")["rng_by_rank"]
    assert len(ranks) == 2


def test_only_rank_0_of_a_sharded_training_saves(project: TinyStages) -> None:
    assert (project.root / "sharded.log").read_text().count("checkpoint saved") == 2
    pictures = project.run_root("sharded") / "dynamics" / "visualizations"
    assert sorted(path.name for path in pictures.iterdir()) == ["dynamics_step_11.png", "dynamics_step_5.png"]


def test_a_single_process_goes_on_from_a_sharded_checkpoint_as_from_one_of_ddp(project: TinyStages) -> None:
    for source in ("sharded", "whole"):
        start = {"checkpoint": project.checkpoint(source, "dynamics", 11), "n_updates": 14}
        done = project.train("dynamics", f"single_from_{source}", inputs_of(project, "dynamics") | start)
        assert done.exit_code == 0, done.output
        assert "updates 12 to 14" in done.output
    assert losses(project, "single_from_sharded", "dynamics") == pytest.approx(
        losses(project, "single_from_whole", "dynamics"), rel=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(("source", "way"), [("whole", FSDP), ("sharded", {})], ids=["DDP to FSDP", "FSDP to DDP"])
def test_half_of_a_training_sharded_is_the_whole_training(
    project: TinyStages, source: str, way: dict[str, object]
) -> None:
    start = {"checkpoint": project.checkpoint(source, "dynamics", 5)}
    run = f"from_{source}"
    done = project.train("dynamics", run, inputs_of(project, "dynamics") | start | way, workers=2)
    assert done.exit_code == 0, done.output
    assert losses(project, run, "dynamics") == pytest.approx(losses(project, "whole", "dynamics")[6:], rel=1e-4)
    for name in ("model_state_dict.pt", "optim_state_dict.pt"):
        ours, whole = (loaded(project.checkpoint(one, "dynamics", 11), name) for one in (run, "whole"))
        assert_close(ours, whole, 1e-3)


@pytest.mark.slow
def test_sharded_training_goes_on_from_a_single_process(project: TinyStages) -> None:
    for run, way in (("ddp_from_one", {}), ("fsdp_from_one", FSDP)):
        start: dict[str, object] = {"checkpoint": project.checkpoint("whole", "video_tokenizer", 5)}
        done = project.train("video_tokenizer", run, start | way, workers=2)
        assert done.exit_code == 0, done.output
    both = [losses(project, run, "video_tokenizer") for run in ("fsdp_from_one", "ddp_from_one")]
    assert both[0] == pytest.approx(both[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["video_tokenizer", "latent_actions"])
def test_the_first_stages_have_the_losses_of_ddp_too(project: TinyStages, stage: str) -> None:
    keys = {"distributed.reshard_after_forward": False}
    for run, way in (("ddp_two", {}), ("fsdp_two", FSDP | keys)):
        done = project.train(stage, run, way, workers=2)
        assert done.exit_code == 0, done.output
    assert losses(project, "fsdp_two", stage) == pytest.approx(losses(project, "ddp_two", stage), rel=1e-5)


@pytest.mark.slow
def test_mixed_precision_computes_in_bfloat16_and_saves_float32(project: TinyStages) -> None:
    way = FSDP | {"distributed.fsdp_mixed_precision": True}
    done = project.train("dynamics", "bfloat16", inputs_of(project, "dynamics") | way, workers=2)
    assert done.exit_code == 0, done.output
    ours, exact = losses(project, "bfloat16", "dynamics"), losses(project, "sharded", "dynamics")
    assert ours == pytest.approx(exact, rel=0.05)
    assert ours != pytest.approx(exact, rel=1e-6)
    weights = loaded(project.checkpoint("bfloat16", "dynamics", 11), "model_state_dict.pt")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_a_single_worker_has_nothing_to_shard_and_trains_as_ever(project: TinyStages) -> None:
    done = project.train("video_tokenizer", "alone", FSDP)
    assert done.exit_code == 0, done.output
    assert "sharded" not in done.output
    assert losses(project, "alone", "video_tokenizer") == losses(project, "whole", "video_tokenizer")


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            {"distributed": {"use_fsdp": True, "offload_policy": True}},
            r"`distributed\.offload_policy` is not supported: shards stay .*set it to false",
        ),
        (
            {"distributed": {"use_fsdp": True}, "compile": True},
            r"`compile` is not supported: .*distributed\.use_fsdp.*set it to false",
        ),
    ],
)
def test_what_sharding_cannot_honour_is_refused_with_the_fix(training: dict[str, Any], said: str) -> None:
    sizes: dict[str, Any] = dict.fromkeys(
        ("embed_dim", "num_heads", "hidden_dim", "num_blocks", "latent_dim", "patch_size"), 4
    )
    config = TrainingConfig(
        dataset="TINY", context_length=3, frame_size=16, num_bins=4, n_actions=4, **sizes, **training
    )
    stage = StageConfig(
        batch_size_per_gpu=1, gradient_accumulation_steps=1, n_updates=1, learning_rate=0.1, log_interval=1
    )
    with pytest.raises(ConfigError, match=said):
        require_supported_stage(config, stage)
    allowed = config.model_copy(
        update={"compile": False, "distributed": config.distributed.model_copy(update={"offload_policy": False})}
    )
    require_supported_stage(allowed, stage)
