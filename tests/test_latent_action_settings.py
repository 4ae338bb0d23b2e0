"""The latent-action model's own settings: pairs, antisymmetric dims, made-up shifts, balance of codes."""

from __future__ import annotations

import pytest
import torch

from tests.test_next_frame import SIZES
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel, MadeUpShifts
from tinyworlds_gate.reference.models.manner import manner_of


def test_antisymmetric_dims_change_sign_with_the_order_of_the_frames_and_the_others_stay() -> None:
    torch.manual_seed(0)
    model = LatentActionModel(SIZES, frame_pairs=True, antisymmetric_dims=2).eval()
    pairs = torch.rand(6, 2, 3, 16, 16) * 2 - 1
    forth, back = model._prequant(pairs), model._prequant(pairs.flip(1))
    torch.testing.assert_close(forth[..., :2], -back[..., :2])
    torch.testing.assert_close(forth[..., 2:], back[..., 2:])
    assert forth.abs().min() > 0
    alike = pairs[:, :1].expand(-1, 2, -1, -1, -1)
    assert model._prequant(alike)[..., :2].abs().max() < 1e-6


def test_a_made_up_shift_moves_the_frame_as_its_signs_say() -> None:
    torch.manual_seed(1)
    shifts = MadeUpShifts(3)
    frames = torch.rand(200, 3, 20, 20)
    pairs, signs = shifts(frames)
    assert torch.equal(pairs[:, 0], frames)
    kinds = {tuple(one) for one in signs.tolist()}
    assert kinds == {(0, 0, -1), (1, 1, 1), (-1, -1, 1), (1, -1, 1), (-1, 1, 1)}
    ways = {(1, 1): (0, -1), (-1, -1): (0, 1), (1, -1): (-1, 0), (-1, 1): (1, 0)}  # rows, columns
    for (before, after), sign in zip(pairs, signs, strict=True):
        if sign[2] < 0:
            assert torch.equal(before, after)
            continue
        down, right = ways[int(sign[0]), int(sign[1])]
        moved = [
            torch.equal(
                before[:, max(0, -down * n) : 20 - max(0, down * n), max(0, -right * n) : 20 - max(0, right * n)],
                after[:, max(0, down * n) : 20 + min(0, down * n), max(0, right * n) : 20 + min(0, right * n)],
            )
            for n in range(1, 5)
        ]
        assert moved.count(True) == 1


def test_made_up_shifts_are_learned_and_add_no_weights() -> None:
    torch.manual_seed(2)
    model = LatentActionModel(SIZES, frame_pairs=True, antisymmetric_dims=2, shift_weight=1.0)
    assert model.state_dict().keys() == LatentActionModel(SIZES).state_dict().keys()
    base = torch.rand(32, 1, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(60):
        loss = model(base.expand(-1, 2, -1, -1, -1)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_manner_of_a_checkpoint_is_read_from_its_config_and_checked() -> None:
    assert manner_of("video_tokenizer", {}) == {"frame_by_frame": False}
    assert manner_of("latent_actions", {"frame_pairs": True, "antisymmetric_dims": 2, "seed": 0}) == {
        "frame_pairs": True,
        "antisymmetric_dims": 2,
    }
    assert manner_of("dynamics", {"frame_pairs": True}) == {}
    for wrong in ({"frame_pairs": 1}, {"antisymmetric_dims": -1}, {"antisymmetric_dims": True}):
        with pytest.raises(CheckpointError, match="latent_actions checkpoint records"):
            manner_of("latent_actions", wrong)
