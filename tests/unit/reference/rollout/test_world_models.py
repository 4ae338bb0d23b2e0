"""Trained models from checkpoints: their weights, and sizes that only another checkpoint records.

pytest tests/unit/reference/rollout/test_world_models.py
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.small_models import SMALL, frames, world_models
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.rollout.world_models import load_tokenizer, load_trained

STAGES = ("video_tokenizer", "latent_actions", "dynamics")


def written(folder: Path, *without: str, config: dict[str, Any] | None = None) -> dict[str, Path]:
    """Write the three small models, with a config that lacks the keys ``without``; None: no config at all."""
    models = world_models(seed=4)
    recorded = {key: value for key, value in asdict(SMALL).items() if key not in without}
    found = {}
    for stage, model in zip(STAGES, (models.tokenizer, models.latent_actions, models.dynamics), strict=True):
        state = {"config": recorded if config is None else config}
        found[stage] = write_checkpoint(
            folder, stage, 9, model_state=model.state_dict(), optim_state={"state": {}, "param_groups": []}, state=state
        ).path
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return written(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return written(tmp_path_factory.mktemp("bare"), config={})


@pytest.mark.requirement("C4")
def test_a_tokenizer_alone_computes_what_the_saved_one_did(whole: dict[str, Path]) -> None:
    found = load_tokenizer(whole["video_tokenizer"], {"dynamics": whole["dynamics"]})
    saved, clip = world_models(seed=4).tokenizer, frames(length=3)
    assert torch.equal(found.tokenizer.encode(clip), saved.encode(clip))
    assert torch.equal(found.tokenizer.decode(saved.encode(clip)), saved.decode(saved.encode(clip)))
    assert not found.tokenizer.training
    assert found.sizes == {"video_tokenizer": SMALL}
    assert list(found.references) == list(found.configs) == ["video_tokenizer"], "the others give sizes only"
    assert found.references["video_tokenizer"].path == whole["video_tokenizer"]
    assert found.configs["video_tokenizer"]["n_actions"] == SMALL.n_actions


@pytest.mark.requirement("C4")
def test_three_checkpoints_are_the_models_that_were_saved(whole: dict[str, Path]) -> None:
    found = load_trained(whole)
    saved = world_models(seed=4)
    for one, other in (
        (found.models.tokenizer, saved.tokenizer),
        (found.models.latent_actions, saved.latent_actions),
        (found.models.dynamics, saved.dynamics),
    ):
        for name, tensor in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], tensor), name
        assert not one.training
    assert found.sizes == dict.fromkeys(STAGES, SMALL)
    assert {stage: reference.path for stage, reference in found.references.items()} == whole


@pytest.mark.requirement("C4")
def test_a_size_that_only_another_checkpoint_records_is_taken_from_there(
    whole: dict[str, Path], bare: dict[str, Path]
) -> None:
    paths = {**bare, "dynamics": whole["dynamics"]}
    assert load_trained(paths).sizes == dict.fromkeys(STAGES, SMALL)
    alone = load_tokenizer(bare["video_tokenizer"], {"dynamics": whole["dynamics"]})
    assert alone.sizes["video_tokenizer"] == SMALL
    assert alone.configs == {"video_tokenizer": {}}


@pytest.mark.requirement("C4")
def test_a_size_that_no_checkpoint_records_is_refused_with_the_first_that_lacks_it(bare: dict[str, Path]) -> None:
    expected = r"frame_size \(state.pt has no config with it\); use checkpoints whose state.pt holds their config"
    with pytest.raises(CheckpointError, match=rf"video_tokenizer_step_9: no checkpoint records {expected}"):
        load_trained(bare)
    with pytest.raises(CheckpointError, match=rf"video_tokenizer_step_9: no checkpoint records {expected}"):
        load_tokenizer(bare["video_tokenizer"], {})


@pytest.mark.requirement("C4")
@pytest.mark.parametrize("key", ["num_heads", "context_length"])
def test_the_missing_size_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match=f"no checkpoint records {key} "):
        load_trained(written(tmp_path, key))


def test_a_config_of_its_own_wins_over_that_of_another_checkpoint(tmp_path: Path, whole: dict[str, Path]) -> None:
    longer = written(tmp_path, config=asdict(SMALL) | {"context_length": 9})
    found = load_trained({**whole, "video_tokenizer": longer["video_tokenizer"]})
    assert {stage: sizes.context_length for stage, sizes in found.sizes.items()} == {
        "video_tokenizer": 9,
        "latent_actions": 4,
        "dynamics": 4,
    }
