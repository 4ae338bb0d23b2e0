"""One step of a rollout, eager or as a CUDA graph: generate the next tokens by MaskGIT and decode them to pixels.

A step of 16 decoding passes launches over a thousand kernels; for one clip, Python launches them more slowly than a GPU
runs them. `GraphedSteps` captures the step once per shape and replays it.

Axes: B clips, T context frames, H new frames, K transitions, P patches, L latent dims, A action dims, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from tinyworlds_gate.reference.models.blocks import fuse_projections
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
    """Result of a step: latents_BTPL of context and new frames; decoded_BHCHW, the new frames, not clamped."""

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
        """Generate ``horizon`` frames after the known ones."""


class EagerSteps:
    """Eager steps, on any device and at any temperature."""

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
    """Steps as CUDA graphs, one per shape; at a temperature above 0 or on a CPU, eager steps.

    The models' weights must not move or change. With ``compiled``, choosing and revealing tokens is compiled; to
    compile the blocks too, call `compile_regions` before the first step.
    """

    def __init__(self, models: WorldModels, *, compiled: bool = False, choose: Choose | None = None) -> None:
        reveal: Reveal | None = None
        if compiled:
            choose = torch.compile(choose or choose_tokens, dynamic=False)
            reveal = torch.compile(reveal_by_rank, dynamic=False)
        self._eager = EagerSteps(models, choose, reveal)
        self._captured: dict[tuple[object, ...], _Captured] = {}
        self._pool: Any | None = None
        """Memory pool shared by all graphs, since a step's result is copied before the next step runs."""

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
def fuse_models(*models: nn.Module, dtype: torch.dtype) -> Iterator[list[object]]:
    """Context in which the models use fused projections and, on a supported GPU, fused blocks.

    Yields the fused weights: a CUDA graph captured inside reads them, so they must outlive it.
    """
    stacks = [part for model in models for part in model.modules() if isinstance(part, SpaceTimeTransformer)]
    with ExitStack() as projections:
        weights = [projections.enter_context(fuse_projections(model, dtype)) for model in models]
        for stack in stacks:
            stack.fuse(dtype)
        try:
            yield [*weights, *(stack.fused_blocks for stack in stacks)]
        finally:
            for stack in stacks:
                stack.fused_blocks = None


class _Captured:
    """One step, captured for the shapes of its arguments."""

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
        with fuse_models(steps.models.dynamics, steps.models.tokenizer, dtype=dtype) as self._weights:
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
