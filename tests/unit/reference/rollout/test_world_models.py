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
from tinyworlds_gate.reference.models.variations import Variation, vary
from tinyworlds_gate.reference.rollout.world_models import load_tokenizer, load_trained, load_weights, load_world_models

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


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bias": None}, r"tensors 1 missing \(bias\)\. Use"),
        ({"weight": torch.zeros(3, 4)}, r"tensors 1 of another shape \(weight \[3, 4\] instead of \[2, 4\]\)"),
        ({f"x{at}": torch.zeros(1) for at in range(3)}, r"tensors 3 unknown \(x0, x1, x2\)\. "),
        ({f"x{at}": torch.zeros(1) for at in range(4)}, r"tensors 4 unknown \(x0, x1, x2, …\)\. "),
        ({"bias": None, "x": torch.zeros(1)}, r"1 missing \(bias\); 1 unknown \(x\)"),
    ],
)
def test_tensors_that_do_not_fit_are_counted_and_named_and_none_is_loaded(
    changes: dict[str, torch.Tensor | None], said: str
) -> None:
    model = torch.nn.Linear(4, 2)
    before = model.weight.clone()
    state = {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)} | changes
    with pytest.raises(CheckpointError, match=f"The weights of dynamics do not fit the model's sizes: .*{said}"):
        load_weights(model, {name: one for name, one in state.items() if one is not None}, "dynamics")
    assert torch.equal(model.weight, before)
    load_weights(model, {"weight": torch.zeros(2, 4), "bias": torch.ones(2)}, "dynamics")
    assert model.bias.tolist() == [1.0, 1.0]


def test_all_three_models_move_and_change_their_mode_together() -> None:
    models = world_models()
    parts = (models.tokenizer, models.latent_actions, models.dynamics)
    for part in parts:
        part.train()
    assert models.eval() is models
    assert [part.training for part in parts] == [False] * 3
    assert models.to("meta") is models
    assert all(parameter.is_meta for part in parts for parameter in part.parameters())


def test_checkpoints_without_an_optimizer_and_with_options_are_loaded(tmp_path: Path) -> None:
    options = {"frame_by_frame": True, "frame_pairs": True}
    paths = written(tmp_path, config=asdict(SMALL) | options)
    for path in paths.values():
        (path / "optim_state_dict.pt").unlink()
    found = load_trained(paths).models
    assert (found.tokenizer.frame_by_frame, found.latent_actions.frame_pairs) == (True, True)
    alone = load_tokenizer(paths["video_tokenizer"], {}).tokenizer
    assert alone.frame_by_frame
    with pytest.raises(CheckpointError, match="dynamics_step_9"):
        load_tokenizer(paths["dynamics"], {})


@pytest.mark.parametrize("variation", [Variation(qk_norm=True), Variation(experts=2, experts_per_token=1)], ids=str)
def test_a_model_is_changed_to_the_variation_of_its_weights(variation: Variation) -> None:
    varied, models = world_models(seed=4), world_models(seed=5)
    vary(varied.dynamics, variation)
    state = varied.dynamics.state_dict()
    states = {
        "video_tokenizer": models.tokenizer.state_dict(),
        "latent_actions": models.latent_actions.state_dict(),
        "dynamics": state,
    }
    found = load_world_models(dict.fromkeys(STAGES, SMALL), states, configs={"dynamics": {"top_k_experts": 1}})
    assert found.dynamics.state_dict().keys() == state.keys()
    latents = models.tokenizer.encode(frames(length=2))
    hidden = torch.ones(2, 2, SMALL.patches, dtype=torch.bool)
    first, second = (one.eval()(latents, torch.ones(2, 1, 2), hidden) for one in (found.dynamics, varied.dynamics))
    assert torch.equal(first, second)
