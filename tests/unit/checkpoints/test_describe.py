"""Sizes at their limits, and tensors that are missing or of no model's shape.

pytest tests/unit/checkpoints/test_describe.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tinyworlds_gate.checkpoints.describe import (
    LARGEST_SIZE,
    CheckpointSizes,
    describe_checkpoint,
    same_size,
    sizes_of_weights,
)
from tinyworlds_gate.checkpoints.integrity import stage_of_names
from tinyworlds_gate.errors import CheckpointError

ONES = {"latent_embed.weight": (8, 1), "output_mlp.weight": (4, 8)}
FFN = "transformer.blocks.{}.ffn.w_v.weight"
GAMMA = "transformer.blocks.0.ffn.norm.to_gamma_beta.1.weight"


def values(stage: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    read = sizes_of_weights(stage, {name: torch.empty(shape) for name, shape in shapes.items()})
    return {name: value for name, (value, _) in read.items()}


@pytest.mark.parametrize(
    ("stage", "shapes", "sizes"),
    [
        ("dynamics", {}, {}),
        ("dynamics", ONES, {"latent_dim": 1, "num_bins": 4}),
        ("dynamics", {"latent_embed.weight": (8, 3), "output_mlp.weight": (64, 8)}, {"latent_dim": 3, "num_bins": 4}),
        ("dynamics", {"latent_embed.weight": (8, 3)}, {"latent_dim": 3}),
        ("dynamics", {"output_mlp.weight": (64, 8)}, {"num_bins": 64}),
        ("dynamics", {GAMMA: (6, 1)}, {"n_actions": 2, "num_blocks": 1}),
        ("dynamics", {GAMMA: (6, 20)}, {"n_actions": 2**20, "num_blocks": 1}),
        ("latent_actions", {"encoder.action_head.3.weight": (3, 7)}, {"n_actions": 8}),
        ("video_tokenizer", {"encoder.latent_head.1.weight": (5, 7)}, {"latent_dim": 5}),
        ("video_tokenizer", {"encoder.patch_embed.proj.weight": (8, 3, 1, 1)}, {"patch_size": 1}),
        ("dynamics", {"patch_embed.proj.weight": (8, 48)}, {"patch_size": 4}),
        ("dynamics", {FFN.format(0): (85, 32)}, {"hidden_dim": 128, "embed_dim": 32, "num_blocks": 1}),
        (
            "dynamics",
            {"transformer.blocks.0.ffn.experts.0.w_v.weight": (2, 9), "transformer.blocks.1.x": (1,)},
            {"hidden_dim": 3, "embed_dim": 9, "num_blocks": 2},
        ),
        (
            "video_tokenizer",
            {"encoder." + FFN.format(0): (2, 9), "decoder.transformer.blocks.1.x": (1,), FFN.format(2): (4, 4)},
            {"hidden_dim": 3, "embed_dim": 9, "num_blocks": 3},
        ),
    ],
)
def test_each_size_is_read_from_its_tensor(
    stage: str, shapes: dict[str, tuple[int, ...]], sizes: dict[str, int]
) -> None:
    assert values(stage, shapes) == sizes


@pytest.mark.parametrize(
    ("stage", "weights", "said"),
    [
        ("dynamics", {"latent_embed.weight": torch.empty(8, 0), "output_mlp.weight": torch.empty(1, 8)},
         "output_mlp.weight has 1 entries, which is not 1 × a whole number to the power 0"),
        ("dynamics", {"latent_embed.weight": torch.empty(8, 2), "output_mlp.weight": torch.empty(8, 8)},
         "output_mlp.weight has 8 entries, which is not 1 × a whole number to the power 2"),
        ("dynamics", {FFN.format(0): torch.empty(6)},
         f"{FFN.format(0)} has shape (6,); expected an axis 1 for embed_dim"),
        ("dynamics", {FFN.format(1): torch.empty(6, 6)},
         "transformer.blocks has 1 blocks, the last of which is 1"),
        ("dynamics", {GAMMA: torch.empty(6, 0)}, "its latent actions have 0 dims; 1 to 20 are allowed"),
        ("dynamics", {GAMMA: torch.empty(6, 21)}, "its latent actions have 21 dims; 1 to 20 are allowed"),
        ("video_tokenizer", {"quantizer.basis": torch.ones(2)},
         "quantizer.basis has shape (2,) and type torch.float32"),
        ("video_tokenizer", {"quantizer.basis": torch.ones(2, dtype=torch.complex64)},
         "quantizer.basis has shape (2,) and type torch.complex64"),
        ("video_tokenizer", {"quantizer.basis": torch.ones(1, 2, dtype=torch.int64)},
         "quantizer.basis has shape (1, 2) and type torch.int64"),
    ],
)  # fmt: skip
def test_a_tensor_of_no_model_is_named(stage: str, weights: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        sizes_of_weights(stage, weights)
    assert str(caught.value) == said


def described(parent: Path, weights: dict[str, torch.Tensor] | None = None, **config: Any) -> CheckpointSizes:
    """Describe a folder with the smallest dynamics model and this config."""
    folder = parent / "dynamics_step_1"
    folder.mkdir()
    model = {name: torch.ones(shape) for name, shape in ONES.items()} | (weights or {})
    assert stage_of_names(model) == "dynamics"
    torch.save(model, folder / "model_state_dict.pt")
    torch.save({"step": 1, "config": config}, folder / "state.pt")
    return describe_checkpoint(folder)


@pytest.mark.requirement("C4")
@pytest.mark.parametrize("value", [1, LARGEST_SIZE, None, True, "3", 2.0])
def test_a_size_of_the_config_is_a_number_up_to_a_limit(value: Any, tmp_path: Path) -> None:
    sizes = described(tmp_path, context_length=value)
    assert sizes.context_length == (value if type(value) is int else None)
    assert sizes.known() == {"latent_dim": 1, "num_bins": 4} | ({"context_length": value} if type(value) is int else {})
    assert (sizes.conditioned, sizes.conflicts) == (False, ())


@pytest.mark.requirement("C4")
@pytest.mark.parametrize("value", [0, -1, LARGEST_SIZE + 1])
def test_a_size_beyond_the_limit_is_refused(value: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        described(tmp_path, context_length=value)
    assert str(caught.value) == (
        f"{tmp_path / 'dynamics_step_1'}: context_length is {value} (config in state.pt); 1 to 1048576 are allowed. "
        f"Use "
        "the checkpoint as training wrote it"
    )


@pytest.mark.requirement("C4")
def test_the_tensors_count_and_the_config_fills_what_they_do_not_determine(tmp_path: Path) -> None:
    inner = {FFN.format(0): torch.ones(64, 6), GAMMA: torch.ones(6, 3)}
    sizes = described(
        tmp_path, inner, hidden_dim=97, embed_dim=6, num_heads=4, frame_size=10, patch_size=4, num_bins=5, n_actions=8
    )
    assert sizes.known() == {
        **{"frame_size": 10, "patch_size": 4, "embed_dim": 6, "num_heads": 4, "hidden_dim": 97, "num_blocks": 1},
        **{"latent_dim": 1, "num_bins": 4, "n_actions": 8},
    }
    assert sizes.conditioned
    assert sizes.sources["num_blocks"] == "tensor transformer.blocks.0 … 0"
    assert sizes.sources["hidden_dim"] == f"tensor {FFN.format(0)} (64, 6)"
    assert sizes.conflicts == (
        "dynamics_step_1: config says num_bins=5, its tensor output_mlp.weight (4, 8) says 4",
        "dynamics_step_1: num_heads=4 does not divide embed_dim=6",
        "dynamics_step_1: patch_size=4 does not divide frame_size=10",
    )


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    "config",
    [
        {"frame_size": 8, "patch_size": 4},
        {"frame_size": 7},
        {"patch_size": 4},
        {"num_heads": 3, "embed_dim": 6},
        {"num_heads": 4},
        {"embed_dim": 7},
    ],
)
def test_sizes_that_divide_or_are_alone_are_no_conflict(config: dict[str, Any], tmp_path: Path) -> None:
    assert described(tmp_path, **config).conflicts == ()


def test_only_a_checkpoint_folder_is_described(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x is no checkpoint folder; allowed: <stage>_step_<n>$"):
        describe_checkpoint(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "a", "b", "same"),
    [("embed_dim", 96, 97, False), ("hidden_dim", 96, 97, True), ("hidden_dim", 97, 98, False), ("x", 5, 5, True)],
)
def test_widths_of_the_same_inner_width_are_the_same(name: str, a: int, b: int, same: bool) -> None:
    assert same_size(name, a, b) is same
