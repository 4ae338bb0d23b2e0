"""Attention within a frame for heads of up to 8 dims, on a GPU: exact softmax attention, in kernels of our own.

TinyWorlds' ZELDA model has heads of 4 dims over 1024 places. Library kernels pad such heads to 32 or 64 dims and are
1.9 (cuDNN) to 4 (FlashAttention-2 in torch) times slower there, forward and backward together (docs/performance.md).

Axes: F frames, P places, N heads, D dims of a head.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from tinyworlds_gate.reference.models.kernels import pending

MOST_HEAD_DIMS = 8  # with more, the library's kernels waste little

_tried = False
_found_usable = False
_why_not: str | None = None
library_only = False
"""Set for a yardstick: attention is then the library's (`speed/yardstick.py`)."""


def fit(head_dim: int) -> bool:
    """Whether `attend` takes heads of this size on this machine's GPU: a power of two up to 8 dims."""
    return fit_if_usable(head_dim) and usable()


def fit_if_usable(head_dim: int) -> bool:
    """Whether `attend` takes heads of this size where kernels of our own run."""
    return head_dim <= MOST_HEAD_DIMS and head_dim & (head_dim - 1) == 0


def usable() -> bool:
    """Whether kernels of our own run here at all; while a model is compiled, what `why_not` found before."""
    found = _found_usable if torch.compiler.is_compiling() else why_not() is None
    return found and not library_only


def why_not() -> str | None:
    """Why the kernels cannot be used on this machine, or None: Triton is not installed, or cannot build a kernel."""
    if not _tried:
        if find_spec("triton") is None:
            return "Triton is not installed"
        try_on(torch.zeros(1, 16, 3, 1, 4, dtype=torch.bfloat16, device="cuda"))
    return _why_not


def try_on(qkv_FP3ND: Tensor) -> None:
    """Finds out, for `why_not`, by building the forward kernels for this input."""
    global _tried, _found_usable, _why_not
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    try:
        spatial_attention_triton.forward(qkv_FP3ND, precision_of(qkv_FP3ND))
        _found_usable = True
    except (RuntimeError, OSError) as error:  # no C compiler, an unknown GPU
        _why_not = str(error).splitlines()[0]
    _tried = True


def attend(qkv_FP3ND: Tensor) -> Tensor:
    """Maps queries, keys and values `[F, P, 3, N, D]` to mixed values `[F, P, N, D]`; a place sees all of its frame.

    bfloat16 computes weights in bfloat16 as the library does; float32 follows `torch.get_float32_matmul_precision`:
    "highest" is exact to float32's rounding, "high" uses TF32 products.
    """
    mixed: Tensor = _attend(qkv_FP3ND)[0]
    return mixed


def attend_only(qkv_FP3ND: Tensor) -> Tensor:
    """As `attend`, where no gradient is wanted and nothing is compiled."""
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    return spatial_attention_triton.forward(qkv_FP3ND, precision_of(qkv_FP3ND), keep=False)[0]


@torch.library.custom_op("tinyworlds_gate::small_heads", mutates_args=())
def _attend(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    pending.wait()
    return spatial_attention_triton.forward(qkv, precision_of(qkv))


@_attend.register_fake
def _(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    F, P, _, N, D = qkv.shape
    rows = [qkv.new_empty(F * N, P, spatial_attention_triton.columns(D)) for _ in range(3)]
    return qkv.new_empty(F, P, N, D), rows[0], rows[1], rows[2]


@torch.library.custom_op("tinyworlds_gate::small_heads_backward", mutates_args=())
def _attend_backward(grad: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    pending.wait()
    return spatial_attention_triton.backward(grad, out, q, k, v, precision_of(out))


@_attend_backward.register_fake
def _(grad: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    F, P, N, D = out.shape
    return out.new_empty(F, P, 3, N, D)


def precision_of(x: Tensor) -> str:
    """How the kernels multiply numbers of this type: "bf16", "tf32" or, exact to float32's rounding, "tf32x3"."""
    if x.dtype == torch.bfloat16:
        return "bf16"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output)


def _gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor, *_: Tensor) -> Tensor:
    gradient: Tensor = _attend_backward(grad, *ctx.saved_tensors)  # type: ignore[attr-defined]
    return gradient


_attend.register_autograd(_gradient, setup_context=_keep)
