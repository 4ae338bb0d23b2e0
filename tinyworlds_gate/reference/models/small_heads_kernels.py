"""The Triton kernels of `small_heads`; imported on a GPU only, where torch brings Triton along.

A score costs one exponential and hardly any matrix work when a head has 4 dims, so everything else is kept off the
vector units: rows are laid out once in DP spare-columned form, and the scale, minus log-sum-exp and minus delta ride
along in the matrix products.

    q row: D high parts of q * scale * log2(e), D low parts, then minus log-sum-exp as a high and a low part
    k row: D values, the same D values again, 1, 1
    v row: D values, 1, 1
    g row (gradient of the output): D values, then minus delta (Dao 2023) as a high and a low part

Axes: F frames, P places, N heads, D dims of a head, DP = 16 or 32 columns of a row.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = 1.4426950408889634
LN_2 = tl.constexpr(0.6931471805599453)
ROWS = 128
SAFE_LOG2 = tl.constexpr(100.0)

# Tile of rows, tile of columns, warps, stages: the best of a sweep on an H100 (docs/performance.md).
FORWARD_TILES = {"bf16": (64, 64, 4, 4), "tf32": (64, 128, 4, 3), "tf32x3": (128, 64, 4, 2)}
BACKWARD_TILES = {"bf16": (64, 64, 4, 3), "tf32": (64, 64, 4, 2), "tf32x3": (64, 64, 4, 2)}


@triton.jit
def _lay_out(
    q_from, k_from, v_from, q_to, k_to, v_to, longest, stride_f, stride_p, stride_n, scale, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    blocks: tl.constexpr = (P + BLOCK - 1) // BLOCK
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, DP)
    inside = rows[:, None] < P
    source = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n
    source += rows[:, None] * stride_p + (column % D)[None, :]
    twice = inside & (column[None, :] < 2 * D)
    q = tl.load(q_from + source, mask=twice, other=0.0).to(tl.float32) * scale
    high = q.to(tl.bfloat16).to(q_to.dtype.element_ty)  # exact in TF32 too
    low = (q - high.to(tl.float32)).to(q_to.dtype.element_ty)
    k = tl.load(k_from + source, mask=twice, other=0.0)
    v = tl.load(v_from + source, mask=inside & (column[None, :] < D), other=0.0)
    one_of_k = (column[None, :] >= 2 * D) & (column[None, :] < 2 * D + 2)
    one_of_v = (column[None, :] >= D) & (column[None, :] < D + 2)
    target = (head.to(tl.int64) * P + rows[:, None]) * DP + column[None, :]
    tl.store(q_to + target, tl.where(column[None, :] < D, high, low), mask=inside)
    tl.store(k_to + target, tl.where(one_of_k, 1.0, k), mask=inside)
    tl.store(v_to + target, tl.where(one_of_v, 1.0, v), mask=inside)
    lengths = tl.sum(tl.where(column[None, :] < D, k.to(tl.float32) * k.to(tl.float32), 0.0), 1)
    tl.atomic_max(longest + head, tl.max(lengths, 0), sem="relaxed")


@triton.jit
def _attend(
    q_rows, k_rows, v_rows, longest, out, stride_f, stride_p, stride_n, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    blocks: tl.constexpr = (P + BM - 1) // BM
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BM + tl.arange(0, BM)
    column = tl.arange(0, DP)
    first = head.to(tl.int64) * P * DP
    at_q = first + rows[:, None] * DP + column[None, :]
    q = tl.load(q_rows + at_q, mask=rows[:, None] < P, other=0.0)
    lengths = tl.sum(tl.where(column[None, :] < 2 * D, q.to(tl.float32) * q.to(tl.float32), 0.0), 1)
    bound = tl.sqrt(tl.max(lengths, 0) * tl.load(longest + head))  # no score is larger (Cauchy and Schwarz)
    mixed = tl.zeros([BM, DP], tl.float32)
    highest = tl.zeros([BM], tl.float32)
    if bound < SAFE_LOG2:  # powers of two of such scores and their sums are normal numbers: no maximum is needed
        for start in tl.range(0, P, BN):
            seen = start + tl.arange(0, BN)
            at_k = first + seen[:, None] * DP + column[None, :]
            k = tl.load(k_rows + at_k, mask=seen[:, None] < P, other=0.0)
            v = tl.load(v_rows + at_k, mask=seen[:, None] < P, other=0.0)  # outside the frame its ones are zeros too
            weights = tl.exp2(tl.dot(q, tl.trans(k), input_precision=PRECISION))  # scores are in units of log2
            mixed = tl.dot(weights.to(v.dtype), v, mixed, input_precision=PRECISION)
    else:
        highest -= float("inf")
        for start in tl.range(0, P, BN):
            seen = start + tl.arange(0, BN)
            at_k = first + seen[:, None] * DP + column[None, :]
            k = tl.load(k_rows + at_k, mask=seen[:, None] < P, other=0.0)
            v = tl.load(v_rows + at_k, mask=seen[:, None] < P, other=0.0)
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
            if P % BN != 0:
                scores = tl.where(seen[None, :] < P, scores, -float("inf"))
            higher = tl.maximum(highest, tl.max(scores, 1))
            weights = tl.exp2(scores - higher[:, None])
            mixed *= tl.exp2(highest - higher)[:, None]
            mixed = tl.dot(weights.to(v.dtype), v, mixed, input_precision=PRECISION)
            highest = higher
    total = tl.sum(tl.where(column[None, :] == D, mixed, 0.0), 1)  # v's column of ones sums the weights
    target = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + rows[:, None] * stride_p
    kept = (column[None, :] < D) & (rows[:, None] < P)
    tl.store(out + target + column[None, :], (mixed / total[:, None]).to(out.dtype.element_ty), mask=kept)
    minus = -(highest + tl.log2(total))
    high = minus.to(tl.bfloat16).to(q.dtype)
    low = (minus - high.to(tl.float32)).to(q.dtype)
    spare = (column[None, :] >= 2 * D) & (column[None, :] < 2 * D + 2) & (rows[:, None] < P)
    tl.store(q_rows + at_q, tl.where(column[None, :] == 2 * D, high[:, None], low[:, None]), mask=spare)


@triton.jit
def _lay_out_gradient(
    grad, out, g_rows, grad_q, stride_f, stride_p, stride_n, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    blocks: tl.constexpr = (P + BLOCK - 1) // BLOCK
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, DP)
    inside = rows[:, None] < P
    kept = inside & (column[None, :] < D)
    source = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + rows[:, None] * stride_p
    g = tl.load(grad + source + column[None, :], mask=kept, other=0.0).to(tl.float32)
    y = tl.load(out + source + column[None, :], mask=kept, other=0.0).to(tl.float32)
    minus = -tl.sum(g * y, 1)
    high = minus.to(tl.bfloat16).to(g_rows.dtype.element_ty)
    low = (minus - high.to(tl.float32)).to(g_rows.dtype.element_ty)
    row = tl.where(column[None, :] == D, high[:, None], g.to(g_rows.dtype.element_ty))
    row = tl.where(column[None, :] == D + 1, low[:, None], row)
    at = head.to(tl.int64) * P + rows[:, None]
    tl.store(g_rows + at * DP + column[None, :], row, mask=inside)
    tl.store(grad_q + at * D + column[None, :], tl.zeros([BLOCK, DP], tl.float32), mask=kept)


@triton.jit
def _attend_backward(
    q_rows, k_rows, v_rows, g_rows, grad_q, grad_k, grad_v, stride_f, stride_p, stride_n, scale, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One pass, one exponential a score: this program owns BN keys; gradients of q are added up in memory."""
    blocks: tl.constexpr = (P + BN - 1) // BN
    head = tl.program_id(0) // blocks
    seen = (tl.program_id(0) % blocks) * BN + tl.arange(0, BN)
    column = tl.arange(0, DP)
    first = head.to(tl.int64) * P * DP
    at_k = first + seen[:, None] * DP + column[None, :]
    k = tl.load(k_rows + at_k, mask=seen[:, None] < P, other=0.0)
    v = tl.load(v_rows + at_k, mask=seen[:, None] < P, other=0.0)
    sum_k = tl.zeros([BN, DP], tl.float32)
    sum_v = tl.zeros([BN, DP], tl.float32)
    for start in tl.range(0, P, BM):
        rows = start + tl.arange(0, BM)
        at_q = first + rows[:, None] * DP + column[None, :]
        # Outside the frame q and g are rows of zeros: such rows weigh 1, and nothing comes of it.
        q = tl.load(q_rows + at_q, mask=rows[:, None] < P, other=0.0)
        g = tl.load(g_rows + at_q, mask=rows[:, None] < P, other=0.0)
        weights = tl.exp2(tl.dot(k, tl.trans(q), input_precision=PRECISION))  # [BN, BM]; log-sum-exp is in the product
        sum_v = tl.dot(weights.to(g.dtype), g, sum_v, input_precision=PRECISION)
        grad_scores = (weights * tl.dot(v, tl.trans(g), input_precision=PRECISION)).to(q.dtype)
        sum_k = tl.dot(grad_scores, q, sum_k, input_precision=PRECISION)
        part = tl.dot(tl.trans(grad_scores), k, input_precision=PRECISION) * scale
        at = (head.to(tl.int64) * P + rows[:, None]) * D + column[None, :]
        tl.atomic_add(grad_q + at, part, mask=(column[None, :] < D) & (rows[:, None] < P), sem="relaxed")
    # The products with q's high and low parts belong together; its scale of log2(e) goes again.
    parts = tl.reshape(sum_k, [BN, DP // D, D])
    whole = tl.sum(tl.where((tl.arange(0, DP // D) < 2)[None, :, None], parts, 0.0), 1) * LN_2
    target = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + seen[:, None] * stride_p
    tl.store(grad_k + target + tl.arange(0, D)[None, :], whole.to(grad_k.dtype.element_ty), mask=seen[:, None] < P)
    kept = (column[None, :] < D) & (seen[:, None] < P)
    tl.store(grad_v + target + column[None, :], sum_v.to(grad_v.dtype.element_ty), mask=kept)


def columns(head_dim: int) -> int:
    """How many columns a row has, DP."""
    return max(16, int(triton.next_power_of_2(2 * head_dim + 2)))


def forward(qkv_FP3ND: Tensor, precision: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the mixed values `[F, P, N, D]` and the rows of q, k and v, `[F * N, P, DP]` each, for `backward`."""
    F, P, _, N, D = qkv_FP3ND.shape
    DP = columns(D)
    q, k, v = qkv_FP3ND.unbind(2)
    rows = [qkv_FP3ND.new_empty(F * N, P, DP) for _ in range(3)]
    longest = torch.zeros(F * N, dtype=torch.float32, device=qkv_FP3ND.device)
    out = qkv_FP3ND.new_empty(F, P, N, D)
    _lay_out[(F * N * triton.cdiv(P, ROWS),)](
        q, k, v, *rows, longest, q.stride(0), q.stride(1), q.stride(2), D**-0.5 * LOG2_E, N,
        P=P, D=D, DP=DP, BLOCK=ROWS,
    )  # fmt: skip
    BM, BN, warps, stages = FORWARD_TILES[precision]
    _attend[(F * N * triton.cdiv(P, BM),)](
        *rows, longest, out, out.stride(0), out.stride(1), out.stride(2), N,
        P=P, D=D, DP=DP, BM=BM, BN=BN, PRECISION=_dot(precision), num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out, rows[0], rows[1], rows[2]


def backward(grad: Tensor, out: Tensor, q_rows: Tensor, k_rows: Tensor, v_rows: Tensor, precision: str) -> Tensor:
    """Returns the gradient of qkv, `[F, P, 3, N, D]`, from that of the mixed values."""
    F, P, N, D = out.shape
    DP = q_rows.shape[-1]
    grad = grad.contiguous()
    g_rows = torch.empty_like(q_rows)
    grad_q = torch.empty(F, N, P, D, dtype=torch.float32, device=out.device)
    _lay_out_gradient[(F * N * triton.cdiv(P, ROWS),)](
        grad, out, g_rows, grad_q, out.stride(0), out.stride(1), out.stride(2), N, P=P, D=D, DP=DP, BLOCK=ROWS
    )
    grad_qkv = out.new_empty(F, P, 3, N, D)
    to_q, to_k, to_v = grad_qkv.unbind(2)
    BM, BN, warps, stages = BACKWARD_TILES[precision]
    _attend_backward[(F * N * triton.cdiv(P, BN),)](
        q_rows, k_rows, v_rows, g_rows, grad_q, to_k, to_v, to_k.stride(0), to_k.stride(1), to_k.stride(2),
        D**-0.5, N, P=P, D=D, DP=DP, BM=BM, BN=BN, PRECISION=_dot(precision), num_warps=warps, num_stages=stages,
    )  # fmt: skip
    to_q.copy_(grad_q.transpose(1, 2))
    return grad_qkv


def _dot(precision: str) -> str:
    return "tf32" if precision == "bf16" else precision
