"""Causal attention over the few frames of a clip on a GPU, in Triton kernels.

Each patch position is a sequence of its own: thousands of sequences of 4 frames. Library kernels pad each to a tile of
64 positions, and plain tensor operations take a dozen passes over memory; this takes one (docs/performance.md).

Axes: B clips, T frames, S cached frames, P places (patches), N heads, K dims of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinyworlds_gate.reference.models.kernels import background_builds, spatial_attention

MOST_FRAMES = 16
MOST_HEAD_DIMS = 64


def supports(frames: int, head_dim: int) -> bool:
    """Whether the kernels support these sizes on this GPU: up to 16 frames, heads of a power of two, 2 to 64 dims."""
    power_of_two = head_dim & (head_dim - 1) == 0
    return frames <= MOST_FRAMES and 2 <= head_dim <= MOST_HEAD_DIMS and power_of_two and spatial_attention.available()


def attend(qkv_BTP3NK: Tensor) -> Tensor:
    """Map queries, keys, values `[B, T, P, 3, N, K]` to outputs `[B, T, P, N, K]`; frame t attends to 0 … t."""
    mixed: Tensor = _attend(qkv_BTP3NK)[0]
    return mixed


def attend_with_cache(qkv_BTP3NK: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    """Like `attend`, for frames after S cached ones with keys and values `[B, S, P, N, K]`; without a gradient."""
    mixed: Tensor = _attend_with_cache(qkv_BTP3NK, past_keys, past_values)
    return mixed


@torch.library.custom_op("tinyworlds_gate::temporal_attention", mutates_args=())
def _attend(qkv: Tensor) -> tuple[Tensor, Tensor]:
    from tinyworlds_gate.reference.models.kernels import temporal_attention_triton

    background_builds.wait()
    return temporal_attention_triton.forward(qkv.contiguous())


@_attend.register_fake
def _(qkv: Tensor) -> tuple[Tensor, Tensor]:
    B, T, P, _, N, K = qkv.shape
    return qkv.new_empty(B, T, P, N, K), qkv.new_empty(B, T, P * N, dtype=torch.float32)


@torch.library.custom_op("tinyworlds_gate::temporal_attention_with_cache", mutates_args=())
def _attend_with_cache(qkv: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    from tinyworlds_gate.reference.models.kernels import temporal_attention_triton

    background_builds.wait()
    return temporal_attention_triton.forward(qkv.contiguous(), (past_keys, past_values))[0]


@_attend_with_cache.register_fake
def _(qkv: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    B, T, P, _, N, K = qkv.shape
    return qkv.new_empty(B, T, P, N, K)


@torch.library.custom_op("tinyworlds_gate::temporal_attention_backward", mutates_args=())
def _attend_backward(grad: Tensor, out: Tensor, log_sums: Tensor, qkv: Tensor) -> Tensor:
    from tinyworlds_gate.reference.models.kernels import temporal_attention_triton

    background_builds.wait()
    return temporal_attention_triton.backward(grad, out, log_sums, qkv)


@_attend_backward.register_fake
def _(grad: Tensor, out: Tensor, log_sums: Tensor, qkv: Tensor) -> Tensor:
    return torch.empty_like(qkv, memory_format=torch.contiguous_format)


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output, *inputs)


def _gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor, *_: Tensor) -> Tensor:
    gradient: Tensor = _attend_backward(grad, *ctx.saved_tensors)  # type: ignore[attr-defined]
    return gradient


_attend.register_autograd(_gradient, setup_context=_keep)
