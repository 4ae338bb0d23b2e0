"""Our own kernels are built by a thread while the stage imports the compiler, reads its frames and compiles its blocks.

Built where a model first asks for them they follow one another, with nothing beside them: 9 s of a tokenizer's start of
37 s (docs/log.md). Most of a kernel's way is LLVM, the assembler and a C compiler, which need no interpreter.

Axes: T frames, P places, N heads, D dims of a head.
"""

from __future__ import annotations

import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec

import torch

from tinyworlds_gate.reference.models.sizes import ModelSizes

KERNELS = (
    "tinyworlds_gate.reference.models.small_heads_kernels",
    "tinyworlds_gate.reference.models.short_clips_kernels",
)

_tried: Future[None] | None = None
_built: Future[None] | None = None


def start(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Builds from now on what a training update of a model of these sizes on clips of so many frames will call."""
    global _tried, _built
    if find_spec("triton") is None:
        return
    # By one thread: from now on two threads import, and the compiler imports Triton too.
    for name in KERNELS:
        import_module(name)
    executor = ThreadPoolExecutor(1, thread_name_prefix="kernels")
    _tried = executor.submit(_try, sizes, frames, dtype, device)
    _built = executor.submit(_build, sizes, frames, dtype, device)
    executor.shutdown(wait=False)


def wait_for_trial() -> None:
    """`small_heads.why_not` has its answer and need not try a kernel of its own."""
    global _tried
    if _tried is not None:
        _tell(_tried.exception())
        _tried = None


def wait() -> None:
    """No kernel is built by the thread any more: two threads never build the same one.

    What it could not build is told; a model will ask for it again.
    """
    global _built
    wait_for_trial()
    if _built is not None:
        _tell(_built.exception())
        _built = None


def _tell(error: BaseException | None) -> None:
    if error is not None:
        warnings.warn(f"not all kernels were built ahead, so the start takes longer: {error!r}", stacklevel=3)


def _try(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """The first kernels that a model asks for also answer whether kernels can be built here."""
    from tinyworlds_gate.reference.models import small_heads

    with torch.cuda.device(device), torch.no_grad():
        if small_heads.fit_if_usable(sizes.embed_dim // sizes.num_heads):
            small_heads.try_on(_queries_keys_values(sizes, frames, dtype, device).flatten(0, 1))
        else:
            small_heads.why_not()


def _build(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Calls the kernels themselves: an operation of torch would wait for the import of the compiler."""
    from tinyworlds_gate.reference.models import short_clips, short_clips_kernels, small_heads, small_heads_kernels

    head_dim = sizes.embed_dim // sizes.num_heads
    with torch.cuda.device(device), torch.no_grad():
        qkv = _queries_keys_values(sizes, frames, dtype, device)
        if short_clips.fit(frames, head_dim):
            out, log_sums = short_clips_kernels.forward(qkv)
            short_clips_kernels.backward(out, out, log_sums, qkv)
        if small_heads.fit(head_dim):
            precision = small_heads.precision_of(qkv)
            out, q, k, v = small_heads_kernels.forward(qkv.flatten(0, 1), precision)
            small_heads_kernels.backward(out, out, q, k, v, precision)
        torch.cuda.synchronize(device)


def _queries_keys_values(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros `[1, T, P, 3, N, D]`: the number of clips is no part of a kernel, so one is enough."""
    head_dim = sizes.embed_dim // sizes.num_heads
    return torch.zeros(1, frames, sizes.patches, 3, sizes.num_heads, head_dim, dtype=dtype, device=device)
