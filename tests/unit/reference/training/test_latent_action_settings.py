"""Settings of the latent-action model: frame pairs, antisymmetric dims, translation loss and code balance."""

from __future__ import annotations

import pytest
import torch

from tests.unit.reference.training.test_next_frame import SIZES
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.matches import OFFSETS, SCALE, matched_offsets
from tinyworlds_gate.reference.models.model_options import model_options
from tinyworlds_gate.reference.models.translation import candidate_steps, explained_translation


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


@pytest.mark.parametrize(
    ("dx", "dy", "signs"),
    [(-5, 0, [1, 1, 1]), (5, 0, [-1, -1, 1]), (0, -3, [1, -1, 1]), (0, 7, [-1, 1, 1]), (0, 0, [0, 0, -1])],
)
def test_the_translation_is_found_though_parts_of_the_picture_stand_still(dx: int, dy: int, signs: list[int]) -> None:
    drawn = torch.Generator().manual_seed(1)
    world = torch.rand(4, 3, 64 + 20, 64 + 20, generator=drawn) * 2 - 1
    before, after = world[:, :, 10:74, 10:74].clone(), world[:, :, 10 - dy : 74 - dy, 10 - dx : 74 - dx].clone()
    inventory = torch.rand(4, 3, 14, 64, generator=drawn) * 2 - 1
    for frame in (before, after):
        frame[:, :, 50:] = inventory
        frame[:, :, 22:29, 28:35] = 0.5  # the player
    assert explained_translation(torch.stack((before, after), dim=1)).tolist() == [signs] * 4
    back = explained_translation(torch.stack((after, before), dim=1))
    assert back.tolist() == [[-signs[0], -signs[1], signs[2]]] * 4


def test_a_creature_that_walks_and_a_new_picture_are_no_translation() -> None:
    drawn = torch.Generator().manual_seed(2)
    before = torch.rand(1, 3, 64, 64, generator=drawn) * 2 - 1
    walked = before.clone()
    walked[:, :, 10:15, 10:15], walked[:, :, 10:15, 17:22] = before[:, :, 10:15, 17:22], before[:, :, 10:15, 10:15]
    other = torch.rand(1, 3, 64, 64, generator=drawn) * 2 - 1
    for after in (walked * 0.999, other):
        assert explained_translation(torch.stack((before, after), dim=1)).tolist() == [[0, 0, -1]]


@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (-1, 0), (1, 1), (0, 0)])
def test_a_changed_patch_carries_the_offset_at_which_it_was(dy: int, dx: int) -> None:
    before = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    after = torch.roll(before, (-4 * dy, -4 * dx), dims=(2, 3))
    codes = torch.eye(9)
    found = matched_offsets(torch.stack((before, after), dim=1), 4, codes)
    assert found.shape == (2, 2, 16, 9)
    assert not found[:, 0].any()  # nothing is before the first frame
    inner = found[:, 1].view(2, 4, 4, 9)[:, 1:3, 1:3]  # rolled in from the other side at the edges
    expected = SCALE * codes[OFFSETS.index((dy, dx))] if (dy, dx) != (0, 0) else torch.zeros(9)
    torch.testing.assert_close(inner, expected.expand(2, 2, 2, 9), atol=0.2, rtol=0)


def test_matched_patches_change_the_actions_and_no_weights() -> None:
    torch.manual_seed(0)
    plain = LatentActionModel(SIZES, frame_pairs=True, antisymmetric_dims=2).eval()
    matched = LatentActionModel(SIZES, frame_pairs=True, antisymmetric_dims=2, match_patches=True).eval()
    matched.load_state_dict(plain.state_dict())
    pairs = torch.rand(4, 2, 3, 16, 16) * 2 - 1
    assert (plain._prequant(pairs) - matched._prequant(pairs)).abs().amax() > 1e-3
    torch.testing.assert_close(matched._prequant(pairs)[..., :2], -matched._prequant(pairs.flip(1))[..., :2])


def test_candidate_translations_reach_a_tile_of_every_frame_size() -> None:
    assert candidate_steps(128)[0] == 4
    assert 14 in candidate_steps(128)
    assert candidate_steps(64) == list(range(2, 13))
    assert candidate_steps(16) == [1, 2, 3]


def test_named_translations_are_learned_and_add_no_weights() -> None:
    torch.manual_seed(2)
    model = LatentActionModel(SIZES, frame_pairs=True, antisymmetric_dims=2, translation_weight=1.0)
    assert model.state_dict().keys() == LatentActionModel(SIZES).state_dict().keys()
    drawn = torch.Generator().manual_seed(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(80):
        world = torch.rand(16, 3, 16, 24, generator=drawn).round() * 2 - 1
        ways = torch.randint(0, 2, (16,), generator=drawn)
        pairs = torch.stack(
            (world[..., 4:20], torch.where(ways[:, None, None, None] > 0, world[..., 2:18], world[..., 6:22])), 1
        )
        loss = model(pairs).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_manner_of_a_checkpoint_is_read_from_its_config_and_checked() -> None:
    assert model_options("video_tokenizer", {}) == {"frame_by_frame": False}
    assert model_options("latent_actions", {"frame_pairs": True, "antisymmetric_dims": 2, "seed": 0}) == {
        "frame_pairs": True,
        "antisymmetric_dims": 2,
        "match_patches": False,
    }
    assert model_options("dynamics", {"frame_pairs": True}) == {}
    for wrong in ({"frame_pairs": 1}, {"antisymmetric_dims": -1}, {"antisymmetric_dims": True}):
        with pytest.raises(CheckpointError, match="latent_actions checkpoint records"):
            model_options("latent_actions", wrong)
