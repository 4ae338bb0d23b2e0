"""torch.compile for the parts that repeat: one space-time block is compiled, and all blocks of its kind run it.

A whole model of eight blocks takes the compiler over a minute; one block takes seconds, and what lies outside the
blocks is little (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn

from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.norms import NormedLinear
from tinyworlds_gate.reference.models.patches import PatchEmbedding, PixelHead
from tinyworlds_gate.reference.models.transformer import SpaceTimeBlock

REGIONS: tuple[type[nn.Module], ...] = (
    SpaceTimeBlock,
    PatchEmbedding,
    PixelHead,
    NormedLinear,
    FiniteScalarQuantizer,
)


def compile_regions(models: Iterable[nn.Module]) -> None:
    """Let the repeated parts of these models run compiled, from their first call on; names and weights stay."""
    # Each kind of block is compiled with and without gradients, with and without conditioning.
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 32)
    compiled = {kind: torch.compile(kind.forward, dynamic=False, fullgraph=True) for kind in REGIONS}
    for model in models:
        for module in model.modules():
            if type(module) in compiled:
                module.forward = partial(compiled[type(module)], module)
