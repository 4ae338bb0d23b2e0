"""Regional compilation: torch.compile a block once and run all blocks of its type with it.

Compiling a whole model of eight blocks takes over a minute, one block takes seconds. Little work lies outside the
blocks (docs/performance.md).
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
"""Compiler passes without effect on these regions; disabling them saves one to two seconds of a start."""

DETERMINISTIC: Options = {"deterministic": True}
"""Choose kernel variants of reductions by rule instead of by benchmark. With benchmarks, two of 18 starts trained 5 and
7 % slower than all others, probably after a disturbed benchmark, whose choice the cache keeps (docs/performance.md)."""


def compile_regions(models: Iterable[nn.Module], *, deterministic: bool = False) -> None:
    """Compile the repeated parts of these models at their first call; parameter names and weights do not change.

    With ``deterministic`` reduction kernels are not chosen by benchmark (``DETERMINISTIC``).
    """
    spatial_attention.unavailable_reason()  # probe the kernels now: a compiled block only reads the result
    # A block type is compiled several times: with and without gradients, with and without conditioning.
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 32)
    if hasattr(torch._dynamo.config, "run_gc_after_compile"):
        torch._dynamo.config.run_gc_after_compile = False  # saves half a second of a start
    options = OPTIONS | DETERMINISTIC if deterministic else OPTIONS
    compiled = {kind: torch.compile(kind.forward, dynamic=False, fullgraph=True, options=options) for kind in REGIONS}
    for model in models:
        for module in model.modules():
            if type(module) in compiled:
                module.forward = partial(compiled[type(module)], module)


def start_compiler() -> None:
    """Start the compiler's worker processes, which takes seconds, while the stage reads its frames.

    Otherwise the compiler starts them with its first kernel, as it does in torch versions without this call.
    """
    from torch._inductor import async_compile

    wakeup = getattr(async_compile.AsyncCompile, "wakeup", None)
    if wakeup is not None:
        wakeup()


def uncompiled() -> AbstractContextManager[object]:
    """Context in which compiled parts run eagerly, for a few clips of a shape that is not worth compiling."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def is_compiler_failure(error: RuntimeError) -> bool:
    """Whether torch.compile raised this error; checked by module name, since importing it costs two seconds."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
