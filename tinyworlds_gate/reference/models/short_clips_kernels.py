"""The Triton kernels of `short_clips`; imported on a GPU only.

A program holds a handful of lanes (one head of one place, all frames) and walks over pairs of frames; nothing but
queries, keys, values and the result touches memory.

Axes: B clips, T frames, S earlier frames, P places, N heads, K dims of a head.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = 1.4426950408889634
LN_2 = tl.constexpr(0.6931471805599453)
VALUES = 1024  # of a tile: lanes times dims


@triton.jit
def _attend(
    q, k, v, k_past, v_past, out, log_sums, q_b, q_t, q_p, past_b, past_t, past_p, scale, lanes,
    T: tl.constexpr, PAST: tl.constexpr, N: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * R + tl.arange(0, R)
    dim = tl.arange(0, K)[None, :]
    inside = lane[:, None] < lanes
    at = clip * q_b + (lane // N)[:, None] * q_p + (lane % N)[:, None] * K + dim
    at_past = clip * past_b + (lane // N)[:, None] * past_p + (lane % N)[:, None] * K + dim
    for i in tl.static_range(T):
        query = tl.load(q + at + i * q_t, mask=inside, other=0.0).to(tl.float32) * scale
        highest = tl.full([R], -float("inf"), tl.float32)
        total = tl.zeros([R], tl.float32)
        mixed = tl.zeros([R, K], tl.float32)
        for j in tl.static_range(PAST + i + 1):
            if j < PAST:
                key = tl.load(k_past + at_past + j * past_t, mask=inside, other=0.0).to(tl.float32)
                value = tl.load(v_past + at_past + j * past_t, mask=inside, other=0.0).to(tl.float32)
            else:
                key = tl.load(k + at + (j - PAST) * q_t, mask=inside, other=0.0).to(tl.float32)
                value = tl.load(v + at + (j - PAST) * q_t, mask=inside, other=0.0).to(tl.float32)
            score = tl.sum(query * key, 1)
            higher = tl.maximum(highest, score)
            shrink, weight = tl.exp2(highest - higher), tl.exp2(score - higher)
            total = total * shrink + weight
            mixed = mixed * shrink[:, None] + weight[:, None] * value
            highest = higher
        row = (clip * T + i) * lanes + lane
        tl.store(out + row[:, None] * K + dim, (mixed / total[:, None]).to(out.dtype.element_ty), mask=inside)
        tl.store(log_sums + row, highest + tl.log2(total), mask=lane < lanes)


@triton.jit
def _attend_backward(
    grad, out, log_sums, q, k, v, grad_q, grad_k, grad_v, q_b, q_t, q_p, scale, lanes,
    T: tl.constexpr, N: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * R + tl.arange(0, R)
    dim = tl.arange(0, K)[None, :]
    inside = lane[:, None] < lanes
    at = clip * q_b + (lane // N)[:, None] * q_p + (lane % N)[:, None] * K + dim
    flat = lane[:, None] * K + dim
    for j in tl.static_range(T):
        key = tl.load(k + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(v + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
        sum_k = tl.zeros([R, K], tl.float32)
        sum_v = tl.zeros([R, K], tl.float32)
        for i in tl.static_range(j, T):
            query = tl.load(q + at + i * q_t, mask=inside, other=0.0).to(tl.float32) * scale
            row = (clip * T + i) * lanes
            g = tl.load(grad + row * K + flat, mask=inside, other=0.0).to(tl.float32)
            y = tl.load(out + row * K + flat, mask=inside, other=0.0).to(tl.float32)
            log_sum = tl.load(log_sums + row + lane, mask=lane < lanes, other=0.0)
            weight = tl.exp2(tl.sum(query * key, 1) - log_sum)
            grad_score = weight * tl.sum(g * (value - y), 1)
            sum_v += weight[:, None] * g
            sum_k += grad_score[:, None] * query
        tl.store(grad_k + at + j * q_t, (sum_k * LN_2).to(grad_k.dtype.element_ty), mask=inside)
        tl.store(grad_v + at + j * q_t, sum_v.to(grad_v.dtype.element_ty), mask=inside)
    for i in tl.static_range(T):
        query = tl.load(q + at + i * q_t, mask=inside, other=0.0).to(tl.float32) * scale
        row = (clip * T + i) * lanes
        g = tl.load(grad + row * K + flat, mask=inside, other=0.0).to(tl.float32)
        y = tl.load(out + row * K + flat, mask=inside, other=0.0).to(tl.float32)
        log_sum = tl.load(log_sums + row + lane, mask=lane < lanes, other=0.0)
        sum_q = tl.zeros([R, K], tl.float32)
        for j in tl.static_range(i + 1):
            key = tl.load(k + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
            value = tl.load(v + at + j * q_t, mask=inside, other=0.0).to(tl.float32)
            weight = tl.exp2(tl.sum(query * key, 1) - log_sum)
            sum_q += (weight * tl.sum(g * (value - y), 1))[:, None] * key
        # scale holds a factor of log2(e) that belongs to the exponential alone
        tl.store(grad_q + at + i * q_t, (sum_q * scale * LN_2).to(grad_q.dtype.element_ty), mask=inside)


def forward(qkv_BTP3NK: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Contiguous qkv; keys and values of earlier frames are `[B, S, P, N, K]`, with heads and dims contiguous.

    Returns the mixed values `[B, T, P, N, K]` and the log-sum-exp of each query `[B, T, P * N]` in units of log2.
    """
    B, T, P, _, N, K = qkv_BTP3NK.shape
    queries, keys, values = qkv_BTP3NK.unbind(3)
    keys_before, values_before = (keys, values) if past is None else past
    out = torch.empty(B, T, P, N, K, dtype=queries.dtype, device=queries.device)
    log_sums = torch.empty(B, T, P * N, dtype=torch.float32, device=queries.device)
    R = max(1, VALUES // K)
    _attend[(triton.cdiv(P * N, R), B)](
        queries, keys, values, keys_before, values_before, out, log_sums,
        *queries.stride()[:3], *keys_before.stride()[:3], K**-0.5 * LOG2_E, P * N,
        T=T, PAST=0 if past is None else keys_before.shape[1], N=N, K=K, R=R,
    )  # fmt: skip
    return out, log_sums


def backward(grad: Tensor, out: Tensor, log_sums: Tensor, qkv_BTP3NK: Tensor) -> Tensor:
    """Returns the gradient of qkv, `[B, T, P, 3, N, K]`, from that of the mixed values."""
    B, T, P, _, N, K = qkv_BTP3NK.shape
    grad_qkv = torch.empty_like(qkv_BTP3NK, memory_format=torch.contiguous_format)
    qkv = qkv_BTP3NK.contiguous()
    R = max(1, VALUES // K)
    _attend_backward[(triton.cdiv(P * N, R), B)](
        grad.contiguous(), out, log_sums, *qkv.unbind(3), *grad_qkv.unbind(3), *qkv.stride()[:3],
        K**-0.5 * LOG2_E, P * N, T=T, N=N, K=K, R=R,
    )  # fmt: skip
    return grad_qkv
