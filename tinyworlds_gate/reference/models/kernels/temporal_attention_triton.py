"""The Triton kernels of `temporal_attention`; import only with a GPU.

A program processes R lanes (a lane is one head of one place, over all frames) and iterates over pairs of frames, so
only queries, keys, values and the result touch memory. Up to four frames are unrolled. Longer clips use a loop whose
length is a run-time argument, so that one compilation serves all lengths (T or PAST is then 0).

Axes: B clips, T frames, S cached frames, P places (patches), N heads, K dims of a head.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = 1.4426950408889634
LN_2 = tl.constexpr(0.6931471805599453)
VALUES = 1024  # lanes times dims of a tile
MOST_UNROLLED = 4  # unrolling more frames takes the compiler minutes


@triton.jit
def _online_softmax_step(query, key, value, highest, total, mixed):
    """Add one frame to the running softmax."""
    score = tl.sum(query * key, 1)
    higher = tl.maximum(highest, score)
    shrink, weight = tl.exp2(highest - higher), tl.exp2(score - higher)
    return higher, total * shrink + weight, mixed * shrink[:, None] + weight[:, None] * value


@triton.jit
def _attend_one(
    i, q, k, v, k_past, v_past, out, log_sums, at, at_past, inside, lane, dim, clip, q_t, past_t, scale, lanes,
    frames, earlier, PAST: tl.constexpr, K: tl.constexpr, R: tl.constexpr, UNROLLED: tl.constexpr,
    LONG_PAST: tl.constexpr,
):  # fmt: skip
    """Attention of the queries of frame i."""
    query = tl.load(q + at + i * q_t, mask=inside, other=0.0).to(tl.float32) * scale
    highest = tl.full([R], -float("inf"), tl.float32)
    total = tl.zeros([R], tl.float32)
    mixed = tl.zeros([R, K], tl.float32)
    if LONG_PAST:
        for j in tl.range(0, earlier):
            key = tl.load(k_past + at_past + j * past_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v_past + at_past + j * past_t, mask=inside, other=0.0).to(tl.float32)
            highest, total, mixed = _online_softmax_step(query, key, value, highest, total, mixed)
    else:
        for j in tl.static_range(PAST):
            key = tl.load(k_past + at_past + j * past_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v_past + at_past + j * past_t, mask=inside, other=0.0).to(tl.float32)
            highest, total, mixed = _online_softmax_step(query, key, value, highest, total, mixed)
    if UNROLLED:
        for j in tl.static_range(i + 1):
            key = tl.load(k + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
            highest, total, mixed = _online_softmax_step(query, key, value, highest, total, mixed)
    else:
        for j in tl.range(0, i + 1):
            key = tl.load(k + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
            highest, total, mixed = _online_softmax_step(query, key, value, highest, total, mixed)
    row = (clip * frames + i) * lanes + lane
    tl.store(out + row[:, None] * K + dim, (mixed / total[:, None]).to(out.dtype.element_ty), mask=inside)
    tl.store(log_sums + row, highest + tl.log2(total), mask=lane < lanes)


@triton.jit
def _attend(
    q, k, v, k_past, v_past, out, log_sums, q_b, q_t, q_p, past_b, past_t, past_p, scale, lanes, frames, earlier,
    T: tl.constexpr, PAST: tl.constexpr, N: tl.constexpr, K: tl.constexpr, R: tl.constexpr, UNROLLED: tl.constexpr,
    LONG_PAST: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * R + tl.arange(0, R)
    dim = tl.arange(0, K)[None, :]
    inside = lane[:, None] < lanes
    at = clip * q_b + (lane // N)[:, None] * q_p + (lane % N)[:, None] * K + dim
    at_past = clip * past_b + (lane // N)[:, None] * past_p + (lane % N)[:, None] * K + dim
    if UNROLLED:
        for i in tl.static_range(T):
            _attend_one(
                i, q, k, v, k_past, v_past, out, log_sums, at, at_past, inside, lane, dim, clip, q_t, past_t, scale,
                lanes, frames, earlier, PAST, K, R, UNROLLED, LONG_PAST,
            )  # fmt: skip
    else:
        for i in tl.range(0, frames):
            _attend_one(
                i, q, k, v, k_past, v_past, out, log_sums, at, at_past, inside, lane, dim, clip, q_t, past_t, scale,
                lanes, frames, earlier, PAST, K, R, UNROLLED, LONG_PAST,
            )  # fmt: skip


@triton.jit
def _pair(i, query, key, value, grad, out, log_sums, clip, lane, flat, inside, lanes, frames, K: tl.constexpr):
    """Return the weight, the gradient of the score and the output gradient of frame i's queries for one key."""
    row = (clip * frames + i) * lanes
    g = tl.load(grad + row * K + flat, mask=inside, other=0.0).to(tl.float32)
    y = tl.load(out + row * K + flat, mask=inside, other=0.0).to(tl.float32)
    log_sum = tl.load(log_sums + row + lane, mask=lane < lanes, other=0.0)
    weight = tl.exp2(tl.sum(query * key, 1) - log_sum)
    return weight, weight * tl.sum(g * (value - y), 1), g


@triton.jit
def _gradients_of_frame(
    j, grad, out, log_sums, q, k, v, grad_q, grad_k, grad_v, at, flat, inside, lane, clip, q_t, scale, lanes, frames,
    T: tl.constexpr, K: tl.constexpr, R: tl.constexpr, UNROLLED: tl.constexpr,
):  # fmt: skip
    """Gradients of the keys, values and queries of frame j."""
    key = tl.load(k + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(v + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
    sum_k = tl.zeros([R, K], tl.float32)
    sum_v = tl.zeros([R, K], tl.float32)
    sum_q = tl.zeros([R, K], tl.float32)
    own = tl.load(q + at + j * q_t, mask=inside, other=0.0).to(tl.float32) * scale
    if UNROLLED:
        for i in tl.static_range(j, T):
            query = tl.load(q + at + i * q_t, mask=inside, other=0.0).to(tl.float32) * scale
            weight, score, g = _pair(
                i, query, key, value, grad, out, log_sums, clip, lane, flat, inside, lanes, frames, K,
            )  # fmt: skip
            sum_v += weight[:, None] * g
            sum_k += score[:, None] * query
        for i in tl.static_range(j + 1):
            key = tl.load(k + at + i * q_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v + at + i * q_t, mask=inside, other=0.0).to(tl.float32)
            weight, score, g = _pair(
                j, own, key, value, grad, out, log_sums, clip, lane, flat, inside, lanes, frames, K,
            )  # fmt: skip
            sum_q += score[:, None] * key
    else:
        for i in tl.range(j, frames):
            query = tl.load(q + at + i * q_t, mask=inside, other=0.0).to(tl.float32) * scale
            weight, score, g = _pair(
                i, query, key, value, grad, out, log_sums, clip, lane, flat, inside, lanes, frames, K,
            )  # fmt: skip
            sum_v += weight[:, None] * g
            sum_k += score[:, None] * query
        for i in tl.range(0, j + 1):
            key = tl.load(k + at + i * q_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v + at + i * q_t, mask=inside, other=0.0).to(tl.float32)
            weight, score, g = _pair(
                j, own, key, value, grad, out, log_sums, clip, lane, flat, inside, lanes, frames, K,
            )  # fmt: skip
            sum_q += score[:, None] * key
    # scale includes log2(e), which belongs to the exponential only
    tl.store(grad_k + at + j * q_t, (sum_k * LN_2).to(grad_k.dtype.element_ty), mask=inside)
    tl.store(grad_v + at + j * q_t, sum_v.to(grad_v.dtype.element_ty), mask=inside)
    tl.store(grad_q + at + j * q_t, (sum_q * scale * LN_2).to(grad_q.dtype.element_ty), mask=inside)


@triton.jit
def _attend_backward(
    grad, out, log_sums, q, k, v, grad_q, grad_k, grad_v, q_b, q_t, q_p, scale, lanes, frames,
    T: tl.constexpr, N: tl.constexpr, K: tl.constexpr, R: tl.constexpr, UNROLLED: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * R + tl.arange(0, R)
    dim = tl.arange(0, K)[None, :]
    inside = lane[:, None] < lanes
    at = clip * q_b + (lane // N)[:, None] * q_p + (lane % N)[:, None] * K + dim
    flat = lane[:, None] * K + dim
    if UNROLLED:
        for j in tl.static_range(T):
            _gradients_of_frame(
                j, grad, out, log_sums, q, k, v, grad_q, grad_k, grad_v, at, flat, inside, lane, clip, q_t, scale,
                lanes, frames, T, K, R, UNROLLED,
            )  # fmt: skip
    else:
        for j in tl.range(0, frames):
            _gradients_of_frame(
                j, grad, out, log_sums, q, k, v, grad_q, grad_k, grad_v, at, flat, inside, lane, clip, q_t, scale,
                lanes, frames, T, K, R, UNROLLED,
            )  # fmt: skip


def forward(qkv_BTP3NK: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Return the attention output `[B, T, P, N, K]` and the log-sum-exp of each query `[B, T, P * N]` in units of log2.

    qkv must be contiguous. ``past`` holds keys and values of S cached frames `[B, S, P, N, K]`, contiguous in N and K.
    """
    B, T, P, _, N, K = qkv_BTP3NK.shape
    queries, keys, values = qkv_BTP3NK.unbind(3)
    keys_before, values_before = (keys, values) if past is None else past
    out = torch.empty(B, T, P, N, K, dtype=queries.dtype, device=queries.device)
    log_sums = torch.empty(B, T, P * N, dtype=torch.float32, device=queries.device)
    R = max(1, VALUES // K)
    earlier = 0 if past is None else keys_before.shape[1]
    unrolled, long_past = T <= MOST_UNROLLED, earlier > MOST_UNROLLED
    _attend[(triton.cdiv(P * N, R), B)](
        queries, keys, values, keys_before, values_before, out, log_sums,
        *queries.stride()[:3], *keys_before.stride()[:3], K**-0.5 * LOG2_E, P * N, T, earlier,
        T=T if unrolled else 0, PAST=0 if long_past else earlier, N=N, K=K, R=R,
        UNROLLED=unrolled, LONG_PAST=long_past,
    )  # fmt: skip
    return out, log_sums


def backward(grad: Tensor, out: Tensor, log_sums: Tensor, qkv_BTP3NK: Tensor) -> Tensor:
    """Return the gradient of qkv, `[B, T, P, 3, N, K]`, from the gradient of the attention output."""
    B, T, P, _, N, K = qkv_BTP3NK.shape
    grad_qkv = torch.empty_like(qkv_BTP3NK, memory_format=torch.contiguous_format)
    qkv = qkv_BTP3NK.contiguous()
    R, unrolled = max(1, VALUES // K), T <= MOST_UNROLLED
    _attend_backward[(triton.cdiv(P * N, R), B)](
        grad.contiguous(), out, log_sums, *qkv.unbind(3), *grad_qkv.unbind(3), *qkv.stride()[:3],
        K**-0.5 * LOG2_E, P * N, T, T=T if unrolled else 0, N=N, K=K, R=R, UNROLLED=unrolled,
    )  # fmt: skip
    return grad_qkv
