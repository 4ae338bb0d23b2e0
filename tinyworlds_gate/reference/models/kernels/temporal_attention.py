"""Causal attention over the few frames of a clip, on a GPU, in kernels of our own.

Every place attends to its own past: thousands of sequences of 4 frames. Library kernels fill tiles of 64 positions with
them, and written out in tensor operations it is a dozen passes over memory; here it is one (docs/performance.md).

Axes: B clips, T frames, S earlier frames, P places, N heads, K dims of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinyworlds_gate.reference.models.kernels import pending, spatial_attention

MOST_FRAMES = 16
MOST_HEAD_DIMS = 64


def fit(frames: int, head_dim: int) -> bool:
    """Whether the kernels take clips of so many frames on this machine's GPU: up to 16, heads of 2 to 64 dims."""
    power_of_two = head_dim & (head_dim - 1) == 0
    return frames <= MOST_FRAMES and 2 <= head_dim <= MOST_HEAD_DIMS and power_of_two and spatial_attention.usable()


def attend(qkv_BTP3NK: Tensor) -> Tensor:
    """Maps queries, keys and values `[B, T, P, 3, N, K]` to mixed values `[B, T, P, N, K]`; frame t sees 0 … t."""
    mixed: Tensor = _attend(qkv_BTP3NK)[0]
    return mixed


def attend_to_past(qkv_BTP3NK: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    """As `attend`, for frames that follow those whose keys and values `[B, S, P, N, K]` are given; no gradient."""
    mixed: Tensor = _attend_to_past(qkv_BTP3NK, past_keys, past_values)
    return mixed


@torch.library.custom_op("tinyworlds_gate::short_clips", mutates_args=())
def _attend(qkv: Tensor) -> tuple[Tensor, Tensor]:
    from tinyworlds_gate.reference.models.kernels import temporal_attention_triton

    pending.wait()
    return temporal_attention_triton.forward(qkv.contiguous())


@_attend.register_fake
def _(qkv: Tensor) -> tuple[Tensor, Tensor]:
    B, T, P, _, N, K = qkv.shape
    return qkv.new_empty(B, T, P, N, K), qkv.new_empty(B, T, P * N, dtype=torch.float32)


@torch.library.custom_op("tinyworlds_gate::short_clips_past", mutates_args=())
def _attend_to_past(qkv: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    from tinyworlds_gate.reference.models.kernels import temporal_attention_triton

    pending.wait()
    return temporal_attention_triton.forward(qkv.contiguous(), (past_keys, past_values))[0]


@_attend_to_past.register_fake
def _(qkv: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    B, T, P, _, N, K = qkv.shape
    return qkv.new_empty(B, T, P, N, K)


@torch.library.custom_op("tinyworlds_gate::short_clips_backward", mutates_args=())
def _attend_backward(grad: Tensor, out: Tensor, log_sums: Tensor, qkv: Tensor) -> Tensor:
    from tinyworlds_gate.reference.models.kernels import temporal_attention_triton

    pending.wait()
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
