"""Our own kernels are built by a thread while the stage imports the compiler, reads its frames and compiles its blocks.

Built where a model first asks for them they follow one another, with nothing beside them: 9 s of a tokenizer's start of
37 s (docs/log.md). Most of a kernel's way is LLVM, the assembler and a C compiler, which need no interpreter.

Axes: T frames, P places, N heads, D dims of a head.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec

import torch

from tinyworlds_gate.reference.models.kernels import pending
from tinyworlds_gate.reference.models.sizes import ModelSizes

KERNELS = (
    "tinyworlds_gate.reference.models.kernels.spatial_attention_triton",
    "tinyworlds_gate.reference.models.kernels.temporal_attention_triton",
)


def start(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Builds from now on what a training update of a model of these sizes on clips of so many frames will call."""
    if find_spec("triton") is None:
        return
    # By one thread: from now on two threads import, and the compiler imports Triton too.
    for name in KERNELS:
        import_module(name)
    executor = ThreadPoolExecutor(1, thread_name_prefix="kernels")
    pending.announce(
        executor.submit(_try, sizes, frames, dtype, device), executor.submit(_build, sizes, frames, dtype, device)
    )
    executor.shutdown(wait=False)


def _try(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """The first kernels that a model asks for also answer whether kernels can be built here."""
    from tinyworlds_gate.reference.models.kernels import spatial_attention

    with torch.cuda.device(device), torch.no_grad():
        if spatial_attention.fit_if_usable(sizes.embed_dim // sizes.num_heads):
            spatial_attention.try_on(_queries_keys_values(sizes, frames, dtype, device).flatten(0, 1))
        else:
            spatial_attention.why_not()


def _build(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Calls the kernels themselves: an operation of torch would wait for the import of the compiler."""
    from tinyworlds_gate.reference.models.kernels import (
        spatial_attention,
        spatial_attention_triton,
        temporal_attention,
        temporal_attention_triton,
    )

    head_dim = sizes.embed_dim // sizes.num_heads
    with torch.cuda.device(device), torch.no_grad():
        qkv = _queries_keys_values(sizes, frames, dtype, device)
        if temporal_attention.fit(frames, head_dim):
            out, log_sums = temporal_attention_triton.forward(qkv)
            temporal_attention_triton.backward(out, out, log_sums, qkv)
        if spatial_attention.fit(head_dim):
            precision = spatial_attention.precision_of(qkv)
            out, q, k, v = spatial_attention_triton.forward(qkv.flatten(0, 1), precision)
            spatial_attention_triton.backward(out, out, q, k, v, precision)
        torch.cuda.synchronize(device)


def _queries_keys_values(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros `[1, T, P, 3, N, D]`: the number of clips is no part of a kernel, so one is enough."""
    head_dim = sizes.embed_dim // sizes.num_heads
    return torch.zeros(1, frames, sizes.patches, 3, sizes.num_heads, head_dim, dtype=dtype, device=device)
