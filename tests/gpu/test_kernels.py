"""Compare attention kernels, captured updates and captured rollouts with PyTorch's eager operations, on one GPU.

python -m pytest tests/gpu/test_kernels.py -m gpu
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tinyworlds_gate.bench.yardstick import plain_attention
from tinyworlds_gate.config.schema import DynamicsConfig
from tinyworlds_gate.launch.devices.nvml import GpuInfo
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.kernels import spatial_attention, temporal_attention
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout.rollout import rollout
from tinyworlds_gate.reference.rollout.steps import EagerSteps, GraphedSteps
from tinyworlds_gate.reference.rollout.world_models import WorldModels
from tinyworlds_gate.reference.training.build_objective import build_objective
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.graphed_updates import GraphedUpdates
from tinyworlds_gate.reference.training.next_frame import NextFrameObjective
from tinyworlds_gate.reference.training.objectives import Objective
from tinyworlds_gate.reference.training.optimizer import build_optimizer, load_portable_state, portable_state
from tinyworlds_gate.reference.training.regional_compile import compile_regions
from tinyworlds_gate.reference.training.updates import LOSS, EagerUpdates

# What torch warns of once, when a kernel is first used, is not what is tested here.
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("gpus"),
    pytest.mark.filterwarnings("default"),
]

SIZES = ModelSizes(
    frame_size=32, patch_size=4, embed_dim=32, num_heads=8, hidden_dim=64, num_blocks=2,
    latent_dim=3, num_bins=4, n_actions=4, context_length=4,
)  # fmt: skip
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 6e-3}


@pytest.fixture(autouse=True)
def exact_products(gpus: list[GpuInfo]) -> None:
    assert spatial_attention.unavailable_reason() is None
    torch.set_float32_matmul_precision("highest")


def distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("places", "dims"), [(1024, 4), (81, 4), (33, 2), (256, 8)])
def test_small_heads_equal_attention_in_float64(places: int, dims: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(3, places, 3, 2, dims, device="cuda").to(dtype).requires_grad_()
    exact = qkv.detach().double().requires_grad_()
    q, k, v = (one.transpose(1, 2) for one in exact.unbind(2))
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    upstream = torch.randn_like(expected)
    (expected_grad,) = torch.autograd.grad(expected, exact, upstream)
    mixed = spatial_attention.attend(qkv)
    (grad,) = torch.autograd.grad(mixed, qkv, upstream.to(dtype))
    assert distance(mixed, expected) < TOLERANCE[dtype]
    assert distance(grad, expected_grad) < TOLERANCE[dtype]


def test_small_heads_take_scores_too_large_for_a_power_of_two() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, 128, 3, 2, 4, device="cuda") * 25
    q, k, v = (one.transpose(1, 2) for one in qkv.double().unbind(2))
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    assert distance(spatial_attention.attend(qkv), expected) < 1e-3


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("frames", "dims"), [(4, 4), (1, 8), (15, 32)])
def test_short_clips_equal_causal_attention_in_float64(frames: int, dims: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, frames, 49, 3, 2, dims, device="cuda").to(dtype).requires_grad_()
    exact = qkv.detach().double().requires_grad_()
    q, k, v = (one.permute(0, 2, 3, 1, 4) for one in exact.unbind(3))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True).permute(0, 3, 1, 2, 4)
    upstream = torch.randn_like(expected)
    (expected_grad,) = torch.autograd.grad(expected, exact, upstream)
    mixed = temporal_attention.attend(qkv)
    (grad,) = torch.autograd.grad(mixed, qkv, upstream.to(dtype))
    assert distance(mixed, expected) < TOLERANCE[dtype]
    assert distance(grad, expected_grad) < TOLERANCE[dtype]


@pytest.mark.parametrize(("past", "frames"), [(3, 2), (4, 1), (5, 1), (11, 2), (7, 6)])
def test_frames_after_a_past_equal_the_whole_clip(past: int, frames: int) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, past + frames, 49, 3, 2, 4, device="cuda")
    whole = temporal_attention.attend(qkv)
    after = temporal_attention.attend_with_cache(qkv[:, past:], qkv[:, :past, :, 1], qkv[:, :past, :, 2])
    assert distance(after, whole[:, past:]) < 1e-6


@pytest.mark.parametrize("action_dim", [None, 3], ids=["unconditioned", "FiLM"])
@torch.no_grad()
def test_inference_blocks_equal_the_plain_ones(action_dim: int | None) -> None:
    torch.manual_seed(0)
    transformer = SpaceTimeTransformer(SIZES, action_dim).cuda().eval()
    for parameter in transformer.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    x = torch.randn(2, 6, 64, SIZES.embed_dim, device="cuda")
    actions = None if action_dim is None else torch.randn(2, 6, action_dim, device="cuda")

    def in_pieces() -> list[Tensor]:
        """Three frames, then one and two that follow them."""
        found, seen = [], None
        for start, end in ((0, 3), (3, 4), (3, 5)):
            of_piece = None if actions is None else actions[:, start:end]
            out, past = transformer.extend(x[:, start:end], of_piece, seen)
            found.append(out)
            seen = seen or past
        return found

    with plain_attention():
        plain = in_pieces()
    transformer.fuse(torch.float32)
    assert transformer.fused_blocks is not None
    for fused, expected in zip(in_pieces(), plain, strict=True):
        assert distance(fused, expected) < 2e-6


class Clips:
    """A source of fixed random clips that replaces `BatchSource`."""

    def __init__(self) -> None:
        self.frames = torch.rand(64, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1)).cuda() * 2 - 1
        self.frames_on_device = self.frames
        self.starts, self.sends_starts = np.arange(64), True
        self.batch_size, self.device, self.drawn = 8, torch.device("cuda", 0), 0

    def draw(self) -> np.ndarray:
        self.drawn += 1
        return np.random.default_rng(self.drawn).integers(0, 64, 8)

    def clips(self, starts: Tensor) -> Tensor:
        return self.frames[starts]

    def batch(self, starts: Tensor) -> Tensor:
        return self.clips(starts)

    def next_batch(self) -> Tensor:
        return self.clips(torch.from_numpy(self.draw()).cuda())


def tokenizer_objective() -> Objective:
    return build_objective("video_tokenizer", SIZES)


def next_frame_objective() -> Objective:
    """Next-frame objective with half of the contexts generated and nothing random."""
    fixed = {"batch_size_per_gpu": 8, "gradient_accumulation_steps": 1, "n_updates": 8, "log_interval": 8}
    asked = {"masking": "next_frame", "whole_frame_share": 1.0, "own_context": 0.5, "true_context": 1, "pixel_loss": 10}
    settings = DynamicsConfig.model_validate(fixed | asked | {"learning_rate": 1e-3, "token_choice": "mean"})
    tokenizer = VideoTokenizer(SIZES, frame_by_frame=True).eval().requires_grad_(False)
    latent_actions = LatentActionModel(SIZES, frame_pairs=True).eval().requires_grad_(False)
    return NextFrameObjective(SIZES, tokenizer, latent_actions, settings)


def trained(
    kind: Any,
    updates: int,
    *,
    compiled: bool = False,
    state: dict[str, Any] | None = None,
    build: Callable[[], Objective] = tokenizer_objective,
) -> tuple[list[float], dict[str, Any]]:
    """Train ``updates`` updates; return their losses and the final optimizer state."""
    torch.manual_seed(0)
    device = torch.device("cuda", 0)
    objective = build().to_device(device)
    if compiled:
        compile_regions(objective.all_models, deterministic=True)
    optimizer = build_optimizer(objective.model, 1e-3, graphed=kind is GraphedUpdates)
    if state:
        load_portable_state(optimizer, deepcopy(state))  # else the updates would change the state in place
    stage = cast(Any, SimpleNamespace(gradient_accumulation_steps=2, batch_size_per_gpu=8, max_grad_norm=1.0))
    taker = kind(objective, optimizer, cast(Any, Clips()), stage, Worker(0, 1, device), autocast=False)
    found = [taker.take(1e-3).wait()[LOSS] for _ in range(updates)]
    return found, portable_state(optimizer)


@pytest.mark.parametrize("compiled", [False, True], ids=["captured", "captured and compiled"])
def test_captured_updates_follow_the_plain_ones(compiled: bool) -> None:
    with plain_attention():
        plain, _ = trained(EagerUpdates, 8)
    captured, _ = trained(GraphedUpdates, 8, compiled=compiled)
    assert captured == pytest.approx(plain, rel=2e-3)
    assert plain[-1] < plain[0]


@pytest.mark.parametrize("compiled", [False, True], ids=["captured", "captured and compiled"])
def test_captured_updates_on_own_rollouts_follow_the_plain_ones(compiled: bool) -> None:
    with plain_attention():
        plain, _ = trained(EagerUpdates, 8, build=next_frame_objective)
    captured, _ = trained(GraphedUpdates, 8, compiled=compiled, build=next_frame_objective)
    assert captured == pytest.approx(plain, rel=5e-3)
    assert plain[-1] < plain[0]


def test_an_optimizer_continues_captured_what_it_began_plain_and_the_other_way_round() -> None:
    for before, after in ((EagerUpdates, GraphedUpdates), (GraphedUpdates, EagerUpdates)):
        _, state = trained(before, 4)
        as_before, _ = trained(before, 4, state=state)
        going_on, _ = trained(after, 4, state=state)
        assert going_on == pytest.approx(as_before, rel=2e-3)


@pytest.mark.parametrize(
    "memory",
    [{"space": "tokens"}, {"space": "pixels"}, {"space": "tokens", "memory": 7}],
    ids=["tokens", "pixels", "growing memory"],
)
def test_captured_steps_choose_the_tokens_of_the_plain_ones(memory: dict[str, Any]) -> None:
    torch.manual_seed(0)
    models = WorldModels(VideoTokenizer(SIZES), LatentActionModel(SIZES), DynamicsModel(SIZES)).to("cuda").eval()
    with torch.no_grad():
        models.dynamics.output_mlp.weight.mul_(8)
    frames = torch.rand(3, 8, 3, 32, 32, device="cuda") * 2 - 1
    shared: Any = {"context": 3, "generation_steps": 5, "decode_steps": 4, **memory}
    plain = rollout(models, frames, steps=EagerSteps(models), **shared)
    captured = rollout(models, frames, steps=GraphedSteps(models), **shared)
    assert torch.equal(captured.token_indices, plain.token_indices)
    assert distance(captured.predicted_BTCHW, plain.predicted_BTCHW) < 1e-5
