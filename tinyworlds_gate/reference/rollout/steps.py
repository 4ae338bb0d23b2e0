"""One step of a rollout: the next tokens by MaskGIT, and their pixels; operation by operation, or as a CUDA graph.

A step of 16 decoding passes is over a thousand kernels, which Python cannot launch as fast as a GPU runs them for one
clip. `GraphedSteps` captures the step once for each shape and replays it.

Axes: B clips, T context frames, H new frames, K transitions, P patches, L latent dims, A action dims, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from tinyworlds_gate.reference.models.blocks import projections_in_one
from tinyworlds_gate.reference.models.maskgit import (
    Choose,
    Reveal,
    choose_tokens,
    maskgit_decode,
    reveal_by_rank,
)
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer
from tinyworlds_gate.reference.rollout.world_models import WorldModels

WARM_UPS = 2


class Step(NamedTuple):
    """What a step makes: latents_BTPL of context and new frames, decoded_BHCHW the new frames, not clamped."""

    latents_BTPL: Tensor
    decoded_BHCHW: Tensor


class Steps(Protocol):
    """Takes steps of a rollout."""

    def take(
        self,
        known_BTPL: Tensor,
        actions_BKA: Tensor,
        horizon: int,
        decode_steps: int,
        temperature: float,
        generator: torch.Generator | None,
    ) -> Step:
        """Continue the known frames by ``horizon`` new ones."""


class EagerSteps:
    """Operation by operation, on any device and at any temperature."""

    def __init__(self, models: WorldModels, choose: Choose | None = None, reveal: Reveal | None = None) -> None:
        self.models, self._choose, self._reveal = models, choose, reveal

    @torch.no_grad()
    def take(
        self,
        known_BTPL: Tensor,
        actions_BKA: Tensor,
        horizon: int,
        decode_steps: int,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Step:
        tokenizer = self.models.tokenizer
        latents = maskgit_decode(
            self.models.dynamics,
            tokenizer.quantizer,
            known_BTPL,
            horizon,
            actions_BKA,
            decode_steps,
            temperature,
            generator,
            choose=self._choose,
            reveal=self._reveal,
        )
        return Step(latents, tokenizer.decode_last(latents, horizon))


class GraphedSteps:
    """Steps at temperature 0 as CUDA graphs, one for each shape; others are taken operation by operation.

    The models' weights must stay where they are. With ``compiled`` the choice of tokens is compiled too; let the
    blocks be compiled before the first step (`compile_regions`).
    """

    def __init__(self, models: WorldModels, *, compiled: bool = False, choose: Choose | None = None) -> None:
        reveal: Reveal | None = None
        if compiled:
            choose = torch.compile(choose or choose_tokens, dynamic=False)
            reveal = torch.compile(reveal_by_rank, dynamic=False)
        self._eager = EagerSteps(models, choose, reveal)
        self._captured: dict[tuple[object, ...], _Captured] = {}
        self._pool: Any | None = None
        """The memory of all graphs: a step is over, and its result copied, before another is taken."""

    def take(
        self,
        known_BTPL: Tensor,
        actions_BKA: Tensor,
        horizon: int,
        decode_steps: int,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Step:
        if temperature > 0 or not known_BTPL.is_cuda:
            return self._eager.take(known_BTPL, actions_BKA, horizon, decode_steps, temperature, generator)
        precision = (torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cuda"))
        key = (known_BTPL.shape, known_BTPL.dtype, actions_BKA.shape, horizon, decode_steps, *precision)
        if key not in self._captured:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            self._captured[key] = _Captured(self._eager, known_BTPL, actions_BKA, horizon, decode_steps, self._pool)
        return self._captured[key].replay(known_BTPL, actions_BKA)


@contextmanager
def weights_in_one(*models: nn.Module, dtype: torch.dtype) -> Iterator[list[object]]:
    """Inside, weights that act on the same input lie in one tensor, instead of being put together at each use.

    Yields those tensors; a graph that was captured inside needs them alive.
    """
    stacks = [part for model in models for part in model.modules() if isinstance(part, SpaceTimeTransformer)]
    with ExitStack() as projections:
        weights = [projections.enter_context(projections_in_one(model, dtype)) for model in models]
        for stack in stacks:
            stack.fuse(dtype)
        try:
            yield [*weights, *(stack.in_one for stack in stacks)]
        finally:
            for stack in stacks:
                stack.in_one = None


class _Captured:
    """One step, captured at the shapes of these arguments."""

    def __init__(
        self,
        steps: EagerSteps,
        known: Tensor,
        actions: Tensor,
        horizon: int,
        decode_steps: int,
        pool: Any,
    ) -> None:
        self._known, self._actions = known.clone(), actions.clone()
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else known.dtype
        with weights_in_one(steps.models.dynamics, steps.models.tokenizer, dtype=dtype) as self._weights:
            self._capture(steps, horizon, decode_steps, pool)

    def _capture(self, steps: EagerSteps, horizon: int, decode_steps: int, pool: Any) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                steps.take(self._known, self._actions, horizon, decode_steps)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._step = steps.take(self._known, self._actions, horizon, decode_steps)

    def replay(self, known: Tensor, actions: Tensor) -> Step:
        self._known.copy_(known)
        self._actions.copy_(actions)
        self._graph.replay()
        return Step(*(one.clone() for one in self._step))
