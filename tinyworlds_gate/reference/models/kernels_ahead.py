"""Our own kernels are built by a thread while the stage imports the compiler and reads its frames.

Built where a model first asks for them they follow one another, with nothing beside them: a quarter of the tokenizer's
start (docs/performance.md). Most of a kernel's way is LLVM, the assembler and a C compiler, which need no interpreter.

Axes: T frames, P places, N heads, D dims of a head.
"""

from __future__ import annotations

import contextlib
from threading import Thread

import torch

from tinyworlds_gate.reference.models import short_clips, small_heads
from tinyworlds_gate.reference.models.sizes import ModelSizes


class KernelsAhead:
    """Builds what a training update of a model of these sizes on clips of so many frames will call."""

    def __init__(self, sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
        self._thread: Thread | None = None
        # Imported here, by one thread: from now on two threads import, and Triton is imported by both.
        with contextlib.suppress(ImportError):
            from tinyworlds_gate.reference.models import short_clips_kernels, small_heads_kernels  # noqa: F401

            self._thread = Thread(target=_build, args=(sizes, frames, dtype, device), name="kernels", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """No kernel is built by the thread any more; may be called again."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _build(sizes: ModelSizes, frames: int, dtype: torch.dtype, device: torch.device) -> None:
    """Calls the kernels themselves: an operation of torch would wait for the import of the compiler.

    The number of clips is no part of a kernel: one is enough.
    """
    from tinyworlds_gate.reference.models import short_clips_kernels, small_heads_kernels

    head_dim = sizes.embed_dim // sizes.num_heads
    # What fails here fails again where it is needed, and is told there.
    with contextlib.suppress(Exception), torch.cuda.device(device), torch.no_grad():
        qkv = torch.zeros(1, frames, sizes.patches, 3, sizes.num_heads, head_dim, dtype=dtype, device=device)
        if small_heads.fit(head_dim):
            precision = small_heads.precision_of(qkv)
            out, q, k, v = small_heads_kernels.forward(qkv.flatten(0, 1), precision)
            small_heads_kernels.backward(out, out, q, k, v, precision)
        if short_clips.fit(frames, head_dim):
            out, log_sums = short_clips_kernels.forward(qkv)
            short_clips_kernels.backward(out, out, log_sums, qkv)
        torch.cuda.synchronize(device)
