"""Loss weights of what is rare in the pictures: unusual pixels, changed pixels, changed tokens; 0 is TinyWorlds' loss.

python -m pytest tests/unit/reference/training/test_loss_weights.py
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.unit.reference.training.test_next_frame import SIZES, objective
from tinyworlds_gate.config.schema import LatentActionsConfig, VideoTokenizerConfig
from tinyworlds_gate.reference.models.dynamics import masked_cross_entropy
from tinyworlds_gate.reference.models.latent_actions import VARIANCE_FLOOR, VARIANCE_WEIGHT, changed_pixels
from tinyworlds_gate.reference.training.objectives import (
    LatentActionsObjective,
    TokenizerObjective,
    unusual_pixels,
)

STAGE = {
    "batch_size_per_gpu": 2,
    "gradient_accumulation_steps": 1,
    "n_updates": 4,
    "learning_rate": 1e-3,
    "log_interval": 2,
}


def still_with_a_ball(clips: int, frames: int) -> torch.Tensor:
    """Frames of one colour on which a ball of one pixel moves: ``[B, T, 3, 16, 16]`` in [-1, 1]."""
    video = torch.full((clips, frames, 3, 16, 16), -0.5)
    for clip in range(clips):
        for frame in range(frames):
            video[clip, frame, :, (3 * clip + frame) % 16, (5 * clip + 2 * frame) % 16] = 1.0
    return video


def test_a_pixel_is_unusual_where_it_differs_from_the_mean_frame() -> None:
    frames = torch.full((32, 1, 3, 16, 16), -0.5)
    frames[torch.arange(32), 0, :, torch.arange(32) // 16, torch.arange(32) % 16] = 1.0
    assert torch.equal(unusual_pixels(frames)[:, :, 0] == 1, frames[:, :, 0] > 0)


def test_a_pixel_has_changed_where_the_ball_was_or_is() -> None:
    frames = still_with_a_ball(2, 3)
    ball = frames[:, :, 0] > 0
    assert torch.equal(changed_pixels(frames)[:, :, 0] == 1, ball[:, 1:] | ball[:, :-1])


@pytest.mark.parametrize("weight", [0.0, 20.0])
def test_the_tokenizer_s_loss_is_the_weighted_mean(weight: float) -> None:
    torch.manual_seed(0)
    stage = TokenizerObjective(SIZES, VideoTokenizerConfig.model_validate({**STAGE, "unusual_weight": weight})).eval()
    frames = still_with_a_ball(3, 4)
    loss, _ = stage(frames)
    errors = F.smooth_l1_loss(stage.model(frames).recon, frames, reduction="none")
    weights = (1 + weight * unusual_pixels(frames)).expand_as(errors)
    torch.testing.assert_close(loss, (weights * errors).sum() / weights.sum())
    if weight == 0:
        assert loss == stage.model(frames).loss, "TinyWorlds' loss, bit for bit"


@pytest.mark.parametrize("weight", [0.0, 50.0])
def test_the_action_model_s_loss_is_the_weighted_mean(weight: float) -> None:
    torch.manual_seed(0)
    settings = {**STAGE, "frame_pairs": True, "changed_weight": weight}
    stage = LatentActionsObjective(SIZES, LatentActionsConfig.model_validate(settings)).eval()
    frames = still_with_a_ball(3, 2)
    output = stage.model(frames)
    errors = F.smooth_l1_loss(output.pred_frames, frames[:, 1:], reduction="none")
    weights = (1 + weight * changed_pixels(frames)).expand_as(errors)
    penalty = VARIANCE_WEIGHT * max(0.0, VARIANCE_FLOOR - float(output.variance))
    assert float(output.loss.detach()) == pytest.approx(
        float(((weights * errors).sum() / weights.sum()).detach()) + penalty, rel=1e-5
    )


@pytest.mark.parametrize("weight", [0.0, 8.0])
def test_a_changed_token_weighs_more_and_a_visible_one_nothing(weight: float) -> None:
    torch.manual_seed(1)
    stage = objective(changed_weight=weight)
    indices = torch.randint(0, 3, (2, 5, SIZES.patches))
    mask = torch.rand(2, 5, SIZES.patches) < 0.7
    logits = torch.randn(2, 4, SIZES.patches, SIZES.vocabulary)
    errors = F.cross_entropy(logits.permute(0, 3, 1, 2), indices[:, 1:], reduction="none")
    weights = mask[:, 1:] * torch.where(indices[:, 1:] != indices[:, :-1], 1 + weight, 1.0)
    expected = (weights * errors).sum() / weights.sum()
    torch.testing.assert_close(stage._cross_entropy(logits, indices, mask), expected)
    plain = masked_cross_entropy(logits, indices[:, 1:], mask[:, 1:])
    assert bool(torch.isclose(expected, plain)) == (weight == 0)
