"""The parts of the models: position codes, patches, norms and attention."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import SMALL, frames, randomize
from tests.helpers.torch_builds import compiles
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.attention import SelfAttention, SpatialAttention, TemporalAttention
from tinyworlds_gate.reference.models.blocks import SpaceTimeBlock, SwiGLU
from tinyworlds_gate.reference.models.kernels import spatial_attention
from tinyworlds_gate.reference.models.norms import ConditionedNorm
from tinyworlds_gate.reference.models.patches import PatchEmbedding, frames_to_patches, patches_to_frames
from tinyworlds_gate.reference.models.positions import MAX_FRAMES, spatial_code, split_embedding, temporal_code
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer
from tinyworlds_gate.reference.rollout.steps import fuse_models


@pytest.mark.parametrize(
    ("embed_dim", "expected"), [(32, (10, 12, 10)), (64, (22, 22, 20)), (48, (16, 16, 16)), (4, (2, 2, 0))]
)
def test_embedding_dims_are_split_into_even_parts(embed_dim: int, expected: tuple[int, int, int]) -> None:
    assert split_embedding(embed_dim) == expected


def test_space_and_time_codes_share_no_dim() -> None:
    assert not (spatial_code(3, 32)[:, -10:]).any()
    assert not (temporal_code(5, 32)[:, :-10]).any()


def test_columns_come_first_and_rows_next() -> None:
    code = spatial_code(3, 32)  # patch 1 is row 0, column 1; patch 3 is row 1, column 0
    assert code[1, 0] == pytest.approx(math.sin(1))
    assert code[1, 10] == 0
    assert code[3, 0] == 0
    assert code[3, 10] == pytest.approx(math.sin(1))
    assert code[3, 13] == pytest.approx(math.cos(10000 ** (-2 / 12)))


def test_patches_turn_back_into_the_same_frames() -> None:
    clip = frames()
    assert torch.equal(patches_to_frames(frames_to_patches(clip, 4), 4), clip)


def test_a_patch_holds_its_pixels_channel_by_channel() -> None:
    clip = frames()
    second_row_third_column = frames_to_patches(clip, 4)[0, 0, 6]
    assert torch.equal(second_row_third_column, clip[0, 0, :, 4:8, 8:12].flatten())


def test_patch_embedding_is_its_1x1_convolution() -> None:
    embed, clip = PatchEmbedding(SMALL), frames()
    grid = frames_to_patches(clip, 4).flatten(0, 1).transpose(1, 2).unflatten(2, (4, 4))
    expected = embed.proj(grid).flatten(2).transpose(1, 2).unflatten(0, (2, 4)) + embed.spatial_code
    assert torch.allclose(embed(clip), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4, 3, 20, 20), (2, 4, 1, 16, 16), (4, 3, 16, 16)])
def test_frames_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"do not fit a model of frame_size 16; give \[batch, frames, 3, 16, 16\]"):
        PatchEmbedding(SMALL)(torch.zeros(shape))


def test_a_conditioned_norm_without_conditioning_is_a_plain_layer_norm() -> None:
    norm, x = ConditionedNorm(8, 2), torch.randn(1, 3, 5, 8)
    randomize(norm)
    assert torch.allclose(norm(x), torch.nn.functional.layer_norm(x, (8,)), atol=1e-6)


def test_action_t_minus_1_acts_on_frame_t() -> None:
    norm, x, actions = ConditionedNorm(8, 2), torch.randn(1, 3, 5, 8), torch.randn(1, 2, 2)
    randomize(norm)
    changed = actions.clone()
    changed[:, 0] += 1
    moved = (norm(x, changed) - norm(x, actions)).abs().amax(dim=(0, 2, 3))
    assert moved[0] == 0
    assert moved[1] > 0.01
    assert moved[2] == 0
    assert torch.allclose(norm(x, actions)[:, 0], norm(x)[:, 0], atol=1e-6)


def test_one_action_per_frame_acts_on_its_own_frame() -> None:
    norm, x, actions = ConditionedNorm(8, 2), torch.randn(1, 3, 5, 8), torch.randn(1, 3, 2)
    randomize(norm)
    assert torch.allclose(norm(x, actions)[:, 1:], norm(x, actions[:, 1:])[:, 1:], atol=1e-6)


def test_a_wrong_number_of_actions_is_refused() -> None:
    with pytest.raises(ConfigError, match="has 4 steps for 3 frames; give 2 "):
        ConditionedNorm(8, 2)(torch.zeros(1, 3, 5, 8), torch.zeros(1, 4, 2))


def attention_by_definition(part: SpatialAttention | TemporalAttention, x_SLE: Tensor, *, causal: bool) -> Tensor:
    """Reference implementation of `norm(x + attention(x))` for sequences [S, L, E], including the key bias."""
    S, L, E = x_SLE.shape
    q, k, v = (
        project(x_SLE).view(S, L, part.num_heads, part.head_dim).transpose(1, 2)
        for project in (part.q_proj, part.k_proj, part.v_proj)
    )
    scores = q @ k.transpose(-1, -2) / math.sqrt(part.head_dim)
    if causal:
        scores = scores.masked_fill(torch.ones(L, L).triu(1).bool(), -math.inf)
    mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(S, L, E)
    return part.norm(x_SLE + part.out_proj(mixed))


def test_spatial_attention_mixes_the_patches_of_each_frame() -> None:
    part, x = SpatialAttention(24, 2, None), torch.randn(2, 3, 5, 24)
    randomize(part)
    expected = attention_by_definition(part, x.flatten(0, 1), causal=False).view(x.shape)
    assert torch.allclose(part(x), expected, atol=1e-5)


def test_temporal_attention_mixes_each_place_with_its_own_past() -> None:
    part, x = TemporalAttention(24, 2, None), torch.randn(2, 3, 5, 24)
    randomize(part)
    sequences = x.transpose(1, 2).flatten(0, 1)
    expected = attention_by_definition(part, sequences, causal=True).view(2, 5, 3, 24).transpose(1, 2)
    assert torch.allclose(part(x)[0], expected, atol=1e-5)


@pytest.mark.parametrize("new_frames", [1, 2])
def test_extending_a_past_equals_the_whole_clip_at_once(new_frames: int) -> None:
    transformer = SpaceTimeTransformer(SMALL, conditioning_dim=2)
    randomize(transformer)
    x, actions = torch.randn(2, 5, 6, 24), torch.randn(2, 4, 2)
    seen = 5 - new_frames
    _, past = transformer.extend(x[:, :seen], actions[:, : seen - 1])
    extended, _ = transformer.extend(x[:, seen:], actions[:, seen - 1 :], past)
    assert torch.allclose(extended, transformer(x, actions)[:, seen:], atol=1e-5)


@pytest.mark.parametrize("steps", [2, 3])
def test_the_modulations_of_all_norms_at_once_are_those_of_each(steps: int) -> None:
    transformer, x = SpaceTimeTransformer(SMALL, conditioning_dim=2), torch.randn(2, 3, 6, 24)
    randomize(transformer)
    actions = torch.randn(2, steps, 2)
    for block, at_once in zip(transformer.blocks, transformer.modulations(actions, 3), strict=True):
        assert isinstance(block, SpaceTimeBlock)
        assert len(block.norms) == len(at_once) == 3
        for norm, modulation in zip(block.norms, at_once, strict=True):
            assert torch.allclose(norm(x, modulation), norm(x, actions), atol=1e-6)


def test_weights_in_one_tensor_change_no_result_and_are_apart_again_afterwards() -> None:
    transformer, x = SpaceTimeTransformer(SMALL), torch.randn(2, 3, 6, 24)
    randomize(transformer)
    parts = [part for part in transformer.modules() if isinstance(part, SelfAttention | SwiGLU)]
    with fuse_models(transformer, dtype=torch.float32) as weights:
        assert len(parts) == 3 * len(transformer.blocks)
        projections, stack = weights
        assert isinstance(projections, list)
        assert [one is not None for one in projections] == [True] * len(parts)
        assert stack is None, "the kernels of the whole stack, which only a GPU has"
        in_one = transformer(x)
    assert torch.allclose(in_one, transformer(x), atol=1e-6)
    assert [part.fused for part in parts] == [None] * len(parts)


def test_a_clip_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"{MAX_FRAMES + 1} frames is too long"):
        SpaceTimeTransformer(SMALL)(torch.zeros(1, MAX_FRAMES + 1, 1, 24))


@compiles
def test_a_compiled_block_takes_the_answer_that_was_found_before_and_does_not_ask() -> None:
    def either(x: Tensor) -> Tensor:
        return x + 1 if spatial_attention.supports(4) else x - 1

    x = torch.zeros(2)
    assert torch.equal(torch.compile(either, fullgraph=True, backend="eager")(x), either(x))
