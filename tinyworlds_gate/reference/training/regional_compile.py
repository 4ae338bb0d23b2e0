"""torch.compile for the parts that repeat: one space-time block is compiled, and all blocks of its kind run it.

A whole model of eight blocks takes the compiler over a minute; one block takes seconds, and what lies outside the
blocks is little (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import nn

from tinyworlds_gate.reference.models.blocks import SpaceTimeBlock
from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.kernels import spatial_attention
from tinyworlds_gate.reference.models.norms import NormedLinear
from tinyworlds_gate.reference.models.patches import PatchEmbedding, PixelHead

REGIONS: tuple[type[nn.Module], ...] = (
    SpaceTimeBlock,
    PatchEmbedding,
    PixelHead,
    NormedLinear,
    FiniteScalarQuantizer,
)

Options = dict[str, str | int | bool | Callable[..., Any]]

OPTIONS: Options = {"pattern_matcher": False, "shape_padding": False}
"""Searches of the compiler that find nothing in these regions: a second or two of a start, for the same rates."""

BY_RULE: Options = {"deterministic": True}
"""Variants of reductions by rule instead of by benchmark. Two of 18 starts with benchmarks trained 5 and 7 % slower
than all others, most likely since one was disturbed; the compiler's cache keeps the choice (docs/performance.md)."""


def compile_regions(models: Iterable[nn.Module], *, by_rule: bool = False) -> None:
    """Let the repeated parts of these models run compiled, from their first call on; names and weights stay.

    With ``by_rule`` no benchmark decides how sums are added up (``BY_RULE``).
    """
    spatial_attention.why_not()  # a compiled block takes the answer, and cannot ask
    # Each kind of block is compiled with and without gradients, with and without conditioning.
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 32)
    if hasattr(torch._dynamo.config, "run_gc_after_compile"):
        torch._dynamo.config.run_gc_after_compile = False  # half a second of a start
    told = OPTIONS | BY_RULE if by_rule else OPTIONS
    compiled = {kind: torch.compile(kind.forward, dynamic=False, fullgraph=True, options=told) for kind in REGIONS}
    for model in models:
        for module in model.modules():
            if type(module) in compiled:
                module.forward = partial(compiled[type(module)], module)


def start_compiler() -> None:
    """Let the compiler's own worker processes start while the stage reads its frames; they take seconds.

    The compiler would start them with its first kernel. Where this torch has no such call, it still does.
    """
    from torch._inductor import async_compile

    wakeup = getattr(async_compile.AsyncCompile, "wakeup", None)
    if wakeup is not None:
        wakeup()


def uncompiled() -> AbstractContextManager[object]:
    """Inside, compiled parts run operation by operation: a few clips now and then are not worth a compilation."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def is_compiler_failure(error: RuntimeError) -> bool:
    """Whether torch.compile itself failed; told by the error's home, since importing it costs two seconds."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
