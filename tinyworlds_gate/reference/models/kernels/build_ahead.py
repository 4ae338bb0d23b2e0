"""Build the Triton kernels in a background thread while the stage imports the compiler, reads frames and compiles.

Built at first use, one after the other, they take 9 s of a tokenizer's 37 s start (docs/log.md). Most of a build runs
in LLVM, the assembler and a C compiler, which do not hold the interpreter lock.

Axes: T frames, P places (patches), N heads, D dims of a head.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec

import torch

from tinyworlds_gate.reference.models.kernels import background_builds
from tinyworlds_gate.reference.models.sizes import ModelSizes

KERNELS = (
    "tinyworlds_gate.reference.models.kernels.spatial_attention_triton",
    "tinyworlds_gate.reference.models.kernels.temporal_attention_triton",
)


def start(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Start building the kernels of a training update, for a model of these sizes and clips of ``frames`` frames."""
    if find_spec("triton") is None:
        return
    # Imported here: afterwards two threads import, and the compiler imports Triton too.
    for name in KERNELS:
        import_module(name)
    executor = ThreadPoolExecutor(1, thread_name_prefix="kernels")
    background_builds.register(
        executor.submit(_probe, sizes, frames, dtype, device), executor.submit(_build, sizes, frames, dtype, device)
    )
    executor.shutdown(wait=False)


def _probe(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Build the model's first kernels, which also shows whether kernels can be built on this machine."""
    from tinyworlds_gate.reference.models.kernels import spatial_attention

    with torch.cuda.device(device), torch.no_grad():
        if spatial_attention.supports_head_dim(sizes.embed_dim // sizes.num_heads):
            spatial_attention.probe(_queries_keys_values(sizes, frames, dtype, device).flatten(0, 1))
        else:
            spatial_attention.unavailable_reason()


def _build(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Build all kernels by calling them directly: a custom op would wait for the import of the compiler."""
    from tinyworlds_gate.reference.models.kernels import (
        spatial_attention,
        spatial_attention_triton,
        temporal_attention,
        temporal_attention_triton,
    )

    head_dim = sizes.embed_dim // sizes.num_heads
    with torch.cuda.device(device), torch.no_grad():
        qkv = _queries_keys_values(sizes, frames, dtype, device)
        if temporal_attention.supports(frames, head_dim):
            out, log_sums = temporal_attention_triton.forward(qkv)
            temporal_attention_triton.backward(out, out, log_sums, qkv)
        if spatial_attention.supports(head_dim):
            precision = spatial_attention.precision_of(qkv)
            out, q, k, v = spatial_attention_triton.forward(qkv.flatten(0, 1), precision)
            spatial_attention_triton.backward(out, out, q, k, v, precision)
        torch.cuda.synchronize(device)


def _queries_keys_values(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros `[1, T, P, 3, N, D]`; one clip is enough, since kernels are not specialised on the number of clips."""
    head_dim = sizes.embed_dim // sizes.num_heads
    return torch.zeros(1, frames, sizes.patches, 3, sizes.num_heads, head_dim, dtype=dtype, device=device)
