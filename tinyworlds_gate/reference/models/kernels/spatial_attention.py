"""Exact softmax attention within a frame on a GPU, in Triton kernels for heads of up to 8 dims.

The ZELDA model of TinyWorlds has heads of 4 dims over 1024 patches. Library kernels pad such heads to 32 or 64 dims and
are 1.9 (cuDNN) to 4 (FlashAttention-2 in torch) times slower, forward plus backward (docs/performance.md).

Axes: F frames, P places (patches), N heads, D dims of a head.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from tinyworlds_gate.reference.models.kernels import background_builds

MOST_HEAD_DIMS = 8  # for larger heads the padding of the library kernels costs little

_probed = False
_probe_passed = False
_reason: str | None = None
library_only = False
"""Disables these kernels, so that a benchmark can measure PyTorch's attention (`bench/yardstick.py`)."""


def supports(head_dim: int) -> bool:
    """Whether `attend` supports heads of this size on this machine's GPU: a power of two up to 8 dims."""
    return supports_head_dim(head_dim) and available()


def supports_head_dim(head_dim: int) -> bool:
    """Whether `attend` supports heads of this size, on a machine where the kernels are available."""
    return head_dim <= MOST_HEAD_DIMS and head_dim & (head_dim - 1) == 0


def available() -> bool:
    """Whether Triton kernels run on this machine; inside torch.compile, the earlier result of `unavailable_reason`."""
    found = _probe_passed if torch.compiler.is_compiling() else unavailable_reason() is None
    return found and not library_only


def unavailable_reason() -> str | None:
    """Return why the kernels cannot be used (Triton is not installed or cannot build a kernel), or None."""
    if not _probed:
        if find_spec("triton") is None:
            return "Triton is not installed"
        probe(torch.zeros(1, 16, 3, 1, 4, dtype=torch.bfloat16, device="cuda"))
    return _reason


def probe(qkv_FP3ND: Tensor) -> None:
    """Build the forward kernels for this input and record for `unavailable_reason` whether that worked."""
    global _probed, _probe_passed, _reason
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    try:
        spatial_attention_triton.forward(qkv_FP3ND, precision_of(qkv_FP3ND))
        _probe_passed = True
    except (RuntimeError, OSError) as error:  # no C compiler, an unknown GPU
        _reason = str(error).splitlines()[0]
    _probed = True


def attend(qkv_FP3ND: Tensor) -> Tensor:
    """Map queries, keys and values `[F, P, 3, N, D]` to attention outputs `[F, P, N, D]`, without a mask.

    For bfloat16 the weights are bfloat16, as in PyTorch's kernels. For float32 the products follow
    `torch.get_float32_matmul_precision`: "highest" is exact to float32 rounding, "high" uses TF32.
    """
    mixed: Tensor = _attend(qkv_FP3ND)[0]
    return mixed


def attend_no_grad(qkv_FP3ND: Tensor) -> Tensor:
    """Like `attend`, without a gradient and outside torch.compile."""
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    return spatial_attention_triton.forward(qkv_FP3ND, precision_of(qkv_FP3ND), keep=False)[0]


@torch.library.custom_op("tinyworlds_gate::spatial_attention", mutates_args=())
def _attend(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    background_builds.wait()
    return spatial_attention_triton.forward(qkv, precision_of(qkv))


@_attend.register_fake
def _(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    F, P, _, N, D = qkv.shape
    rows = [qkv.new_empty(F * N, P, spatial_attention_triton.columns(D)) for _ in range(3)]
    return qkv.new_empty(F, P, N, D), rows[0], rows[1], rows[2]


@torch.library.custom_op("tinyworlds_gate::spatial_attention_backward", mutates_args=())
def _attend_backward(grad: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    from tinyworlds_gate.reference.models.kernels import spatial_attention_triton

    background_builds.wait()
    return spatial_attention_triton.backward(grad, out, q, k, v, precision_of(out))


@_attend_backward.register_fake
def _(grad: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    F, P, N, D = out.shape
    return out.new_empty(F, P, 3, N, D)


def precision_of(x: Tensor) -> str:
    """Return the matmul precision for x: "bf16", "tf32", or "tf32x3" (exact to float32 rounding)."""
    if x.dtype == torch.bfloat16:
        return "bf16"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output)


def _gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor, *_: Tensor) -> Tensor:
    gradient: Tensor = _attend_backward(grad, *ctx.saved_tensors)  # type: ignore[attr-defined]
    return gradient


_attend.register_autograd(_gradient, setup_context=_keep)
