"""Steps of a rollout as CUDA graphs: one capture per shape and setting, and fused models inside it only.

The graph itself needs a GPU (tests/gpu); here a stand-in records its captures.

pytest tests/unit/reference/rollout/test_steps.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import SMALL, frames, world_models
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer
from tinyworlds_gate.reference.rollout import steps as module
from tinyworlds_gate.reference.rollout.steps import EagerSteps, GraphedSteps, fuse_models


class Captured:
    """Stands in for a captured graph."""

    made: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, steps: EagerSteps, known: Any, actions: Any, *rest: Any) -> None:
        self.number = len(self.made)
        self.made.append((known, actions, *rest))
        self.replayed = 0

    def replay(self, known: Any, actions: Any) -> tuple[int, int, Any, Any]:
        self.replayed += 1
        return self.number, self.replayed, known, actions


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    monkeypatch.setattr(Captured, "made", [])
    monkeypatch.setattr(module, "_Captured", Captured)
    pools = iter(range(1, 100))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    return Captured.made


def on_gpu(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return cast(Tensor, SimpleNamespace(is_cuda=True, shape=shape, dtype=dtype))


def test_a_step_is_captured_once_for_each_shape_and_setting_and_then_replayed(
    captures: list[tuple[Any, ...]],
) -> None:
    steps = GraphedSteps(world_models())
    known, actions = on_gpu(2, 3, 16, 3), on_gpu(2, 3, 2)
    first: Any = steps.take(known, actions, 1, 4)
    second: Any = steps.take(on_gpu(2, 3, 16, 3), actions, 1, 4, 0.0)
    assert (first[:2], second[:2]) == ((0, 1), (0, 2))
    assert (first[2], first[3]) == (known, actions)
    assert captures == [(known, actions, 1, 4, 1)]
    others: list[tuple[Any, ...]] = [
        (on_gpu(2, 4, 16, 3), actions, 1, 4),
        (on_gpu(2, 3, 16, 3, dtype=torch.bfloat16), actions, 1, 4),
        (known, on_gpu(2, 4, 2), 1, 4),
        (known, actions, 2, 4),
        (known, actions, 1, 5),
    ]
    for number, arguments in enumerate(others, start=1):
        found: Any = steps.take(*arguments)
        assert found[:2] == (number, 1)
    again: Any = steps.take(known, actions, 1, 4)
    assert again[:2] == (0, 3)
    assert {capture[-1] for capture in captures} == {1}, "all graphs share one memory pool"


def test_another_precision_has_a_graph_of_its_own(captures: list[tuple[Any, ...]]) -> None:
    steps = GraphedSteps(world_models())
    before = torch.get_float32_matmul_precision()
    try:
        for number, precision in enumerate(("highest", "high")):
            torch.set_float32_matmul_precision(precision)
            found: Any = steps.take(on_gpu(1, 1, 1, 1), on_gpu(1, 1, 1), 1, 1)
            assert found[0] == number
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_on_a_cpu_steps_are_eager_at_any_temperature(captures: list[tuple[Any, ...]], temperature: float) -> None:
    models = world_models()
    known, actions = models.tokenizer.encode(frames(length=3)), torch.ones(2, 3, 2)
    found, expected = (
        one.take(known, actions, 1, 4, temperature, torch.Generator().manual_seed(0))
        for one in (GraphedSteps(models), EagerSteps(models))
    )
    assert torch.equal(found.latents_BTPL, expected.latents_BTPL)
    assert torch.equal(found.decoded_BHCHW, expected.decoded_BHCHW)
    assert found.latents_BTPL.shape == (2, 4, SMALL.patches, SMALL.latent_dim)
    assert captures == []


def test_samples_on_a_gpu_are_drawn_eagerly(captures: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph would repeat the numbers that were drawn when it was captured."""
    monkeypatch.setattr(EagerSteps, "take", lambda *arguments: ("eager", *arguments[3:6]))
    steps = GraphedSteps(world_models())
    assert cast(Any, steps.take(on_gpu(1), on_gpu(1), 1, 4, 0.5)) == ("eager", 1, 4, 0.5)
    assert captures == []


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object, torch.dtype]]:
    """The parts that were fused, whatever this machine supports."""
    found: list[tuple[str, object, torch.dtype]] = []

    def fuse(stack: SpaceTimeTransformer, dtype: torch.dtype) -> None:
        found.append(("blocks", stack, dtype))
        cast(Any, stack).fused_blocks = f"blocks {len(found)}"

    @contextmanager
    def projections(model: torch.nn.Module, dtype: torch.dtype) -> Iterator[str]:
        found.append(("projections", model, dtype))
        yield "projections"
        found.append(("released", model, dtype))

    monkeypatch.setattr(SpaceTimeTransformer, "fuse", fuse)
    monkeypatch.setattr(module, "fuse_projections", projections)
    return found


@pytest.mark.parametrize("failing", [False, True])
def test_every_stack_of_the_models_is_fused_inside_and_none_after_not_even_after_an_error(
    fused: list[tuple[str, object, torch.dtype]], failing: bool
) -> None:
    models = world_models()
    parts = (models.dynamics, models.tokenizer)
    stacks = [one for part in parts for one in part.modules() if isinstance(one, SpaceTimeTransformer)]
    assert len(stacks) == 3, "dynamics, and the tokenizer's encoder and decoder"
    try:
        with fuse_models(*parts, dtype=torch.bfloat16) as weights:
            assert [one for kind, one, _ in fused if kind == "blocks"] == stacks
            assert [one for kind, one, _ in fused if kind == "projections"] == list(parts)
            assert {dtype for _, _, dtype in fused} == {torch.bfloat16}
            assert weights == ["projections"] * 2 + [stack.fused_blocks for stack in stacks]
            assert None not in weights
            if failing:
                raise RuntimeError("out of memory")
    except RuntimeError:
        assert failing
    assert [stack.fused_blocks for stack in stacks] == [None] * 3
    if not failing:
        assert [one for kind, one, _ in fused if kind == "released"] == list(reversed(parts))
