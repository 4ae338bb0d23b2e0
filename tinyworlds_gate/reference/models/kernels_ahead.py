"""Our own kernels are built by a thread while the stage imports the compiler and reads its frames.

Built where a model first asks for them they follow one another, with nothing beside them: a quarter of the tokenizer's
start (docs/performance.md). Most of a kernel's way is LLVM, the assembler and a C compiler, which need no interpreter.

Axes: T frames, P places, N heads, D dims of a head.
"""

from __future__ import annotations

import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec

import torch

from tinyworlds_gate.reference.models import short_clips, small_heads
from tinyworlds_gate.reference.models.sizes import ModelSizes

KERNELS = (
    "tinyworlds_gate.reference.models.small_heads_kernels",
    "tinyworlds_gate.reference.models.short_clips_kernels",
)


class KernelsAhead:
    """Builds what a training update of a model of these sizes on clips of so many frames will call."""

    def __init__(self, sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
        self._building: Future[None] | None = None
        if find_spec("triton") is None:
            return
        # By one thread: from now on two threads import, and the compiler imports Triton too.
        for name in KERNELS:
            import_module(name)
        executor = ThreadPoolExecutor(1, thread_name_prefix="kernels")
        self._building = executor.submit(_build, sizes, frames, dtype, device)
        executor.shutdown(wait=False)

    def wait(self) -> None:
        """No kernel is built by the thread any more. What it could not build is told: a model will ask for it again."""
        if self._building is not None and (error := self._building.exception()) is not None:
            warnings.warn(f"no kernels were built ahead, so the start takes longer: {error!r}", stacklevel=2)


def _build(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Calls the kernels themselves: an operation of torch would wait for the import of the compiler.

    The number of clips is no part of a kernel: one is enough.
    """
    from tinyworlds_gate.reference.models import short_clips_kernels, small_heads_kernels

    head_dim = sizes.embed_dim // sizes.num_heads
    with torch.cuda.device(device), torch.no_grad():
        qkv = torch.zeros(1, frames, sizes.patches, 3, sizes.num_heads, head_dim, dtype=dtype, device=device)
        if small_heads.fit(head_dim):
            precision = small_heads.precision_of(qkv)
            out, q, k, v = small_heads_kernels.forward(qkv.flatten(0, 1), precision)
            small_heads_kernels.backward(out, out, q, k, v, precision)
        if short_clips.fit(frames, head_dim):
            out, log_sums = short_clips_kernels.forward(qkv)
            short_clips_kernels.backward(out, out, log_sums, qkv)
        torch.cuda.synchronize(device)
