"""Steps of a rollout as CUDA graphs: one capture per shape and setting, and fused models inside it only.

The graph itself needs a GPU (tests/gpu); here a stand-in records its captures.

pytest tests/unit/reference/rollout/test_steps.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
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


class FakeCuda:
    """Replaces CUDA graphs: a replay computes the captured step again, on the contents of its arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Any] = []
        self.replayed: Callable[[], object] = list
        for name, function in {
            "Stream": lambda: self.stream("aside"),
            "current_stream": lambda: self.stream("current"),
            "stream": lambda stream: self.noted("on", stream.name),
            "graph": lambda graph, pool: self.noted("capture", pool),
            "CUDAGraph": lambda: SimpleNamespace(replay=lambda: self.replayed()),
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)

    def stream(self, name: str) -> Any:
        return SimpleNamespace(name=name, wait_stream=lambda other: self.calls.append((name, "waits", other.name)))

    @contextmanager
    def noted(self, *what: Any) -> Iterator[None]:
        self.calls.append(what)
        yield


@pytest.mark.parametrize(("autocast", "dtype"), [(False, torch.float64), (True, torch.bfloat16)])
def test_a_capture_is_warmed_up_on_another_stream_and_replayed_on_its_own_copies(
    monkeypatch: pytest.MonkeyPatch, fused: list[tuple[str, object, torch.dtype]], autocast: bool, dtype: torch.dtype
) -> None:
    cuda, models = FakeCuda(monkeypatch), world_models()
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: autocast)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
    results: list[module.Step] = []

    def take(known: Tensor, actions: Tensor, horizon: int, decode_steps: int) -> module.Step:
        cuda.calls.append(("take", horizon, decode_steps))
        results.append(module.Step(known + actions.sum(), known - actions.sum()))
        cuda.replayed = lambda: [
            out.copy_(new) for out, new in zip(results[-1], (known + actions.sum(), known - actions.sum()), strict=True)
        ]
        return results[-1]

    known, actions = torch.zeros(2, dtype=torch.float64), torch.zeros(2)
    steps = cast(EagerSteps, SimpleNamespace(models=models, take=take))
    captured = module._Captured(steps, known, actions, 1, 4, "pool")
    step = ("take", 1, 4)
    assert cuda.calls == [
        ("aside", "waits", "current"),
        ("on", "aside"),
        step,
        step,
        ("current", "waits", "aside"),
        ("capture", "pool"),
        step,
    ]
    assert {kind_dtype for _, _, kind_dtype in fused} == {dtype}
    assert {model for kind, model, _ in fused if kind == "projections"} == {models.dynamics, models.tokenizer}
    first = captured.replay(torch.full_like(known, 5.0), torch.ones(2))
    second = captured.replay(torch.full_like(known, 1.0), torch.zeros(2))
    assert [one.tolist() for one in first] == [[7.0, 7.0], [3.0, 3.0]], "a copy that the next replay leaves alone"
    assert [one.tolist() for one in second] == [[1.0, 1.0], [1.0, 1.0]]
    assert (known.tolist(), actions.tolist()) == ([0.0, 0.0], [0.0, 0.0])


@pytest.mark.parametrize("compiled", [False, True])
def test_choosing_and_revealing_are_compiled_on_request(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    made: list[Any] = []

    def compiling(function: Any, *, dynamic: bool) -> str:
        made.append((function, dynamic))
        return "compiled"

    monkeypatch.setattr(torch, "compile", compiling)
    chosen: Any = GraphedSteps(world_models(), compiled=compiled)._eager
    assert made == ([(module.choose_tokens, False), (module.reveal_by_rank, False)] if compiled else [])
    assert (chosen._choose, chosen._reveal) == (("compiled",) * 2 if compiled else (None, None))
    own: Any = object()
    chosen = GraphedSteps(world_models(), compiled=compiled, choose=own)._eager
    assert (made[-2][0] if compiled else chosen._choose) is own


def test_the_default_of_a_step_is_the_likeliest_token() -> None:
    assert [signature(one.take).parameters["temperature"].default for one in (EagerSteps, GraphedSteps)] == [0.0, 0.0]
