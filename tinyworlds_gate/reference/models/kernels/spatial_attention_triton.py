"""The Triton kernels of `spatial_attention`; import only with a GPU, since CPU builds of torch lack Triton.

With heads of 4 dims a score costs one exponential and hardly any matrix work, so the exponential units are the
bottleneck. Rows are therefore padded once to DP columns, and the spare columns carry the scale, minus log-sum-exp and
minus delta through the matrix products, which takes them off the vector units. In bfloat16 a quarter of the
exponentials are polynomials on the multipliers.

    columns     0 … D-1      D … 2D-1     2D, 2D+1             G … G+D-1 (G = 2D+2)    G+D, G+D+1
    q row       high parts   low parts    minus log-sum-exp    gradient of the output  minus delta (Dao 2023)
    k row       k            k            1, 1                 0                       0
    v row       0            0            0                    v                       1, 1

q is multiplied by the attention scale and log2(e). A number in two columns is split into a high and a low part. The
last three fields of a q row are set for the backward pass only. EXACT (float32-exact inference without a gradient)
uses TF32 products of high and low parts:

    columns     0 … D-1      D … 2D-1     2D … 3D-1
    q row       high parts   low parts    high parts
    k row       high parts   high parts   low parts
    v row       high parts   low parts    1, 0 …

Axes: F frames, P places (patches), N heads, D dims of a head, DP = 16 or 32 columns of a row.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = 1.4426950408889634
LN_2 = tl.constexpr(0.6931471805599453)
ROWS = 128
SAFE_LOG2 = tl.constexpr(100.0)

# Row tile, column tile, warps, pipeline stages: the fastest of a sweep (docs/performance.md).
FORWARD_TILES = {"bf16": (64, 64, 4, 4), "tf32": (64, 128, 4, 3), "tf32x3": (32, 64, 2, 3), "exact": (64, 64, 4, 3)}
BACKWARD_TILES = {"bf16": (64, 64, 4, 3), "tf32": (64, 64, 4, 2), "tf32x3": (64, 64, 4, 2)}
# In bfloat16 one of this many exponentials is a polynomial; 0: none.
FORWARD_POLYNOMIAL, BACKWARD_POLYNOMIAL = 4, 0


def _assembler(pack: int, *, bounded: bool) -> str:
    """Return PTX for 2^x of ``pack`` numbers, the last by a polynomial; results are at least 2^-126.

    Adding 1.5 * 2^23 puts the nearest integer n into the low bits of the mantissa. A cubic polynomial approximates
    2^(x - n) with an error of at most 7.5e-5, and n is added to the exponent. ``bounded``: x is known to be above -126.
    """
    units = "".join(f"ex2.approx.ftz.f32 ${i}, ${pack + i};" for i in range(pack - 1))
    last = 2 * pack - 1
    return f"""{{ .reg .b32 x, n, p; {units}
        {f"mov.b32 x, ${last};" if bounded else f"max.f32 x, ${last}, 0fC2FC0000;"}
        add.rn.f32 n, x, 0f4B400000;
        add.rn.f32 p, n, 0fCB400000;
        sub.rn.f32 x, x, p;
        fma.rn.f32 p, x, 0f3D61FBB0, 0f3E786F0E;
        fma.rn.f32 p, p, x, 0f3F31798D;
        fma.rn.f32 p, p, x, 0f3F7FFB49;
        shl.b32 n, n, 23;
        add.s32 ${pack - 1}, n, p; }}"""


@triton.jit
def _powers(x, ONE_OF: tl.constexpr, ASSEMBLER: tl.constexpr):
    """2^x, where one power in ``ONE_OF`` (4 or 8; else none) is a polynomial."""
    if ONE_OF == 4:
        powers = tl.inline_asm_elementwise(
            ASSEMBLER, "=r,=r,=r,=r,r,r,r,r", [x], dtype=tl.float32, is_pure=True, pack=4
        )
    elif ONE_OF == 8:
        powers = tl.inline_asm_elementwise(
            ASSEMBLER, "=r,=r,=r,=r,=r,=r,=r,=r,r,r,r,r,r,r,r,r", [x], dtype=tl.float32, is_pure=True, pack=8
        )
    else:
        powers = tl.exp2(x)
    return powers


@triton.jit
def _high(x):
    """Truncate float32 numbers to the bits that TF32 holds."""
    return (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def _lay_out(
    k_from, v_from, k_to, v_to, longest, stride_f, stride_p, stride_n, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BLOCK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    blocks: tl.constexpr = (P + BLOCK - 1) // BLOCK
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, DP)
    inside = rows[:, None] < P
    source = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n
    source += rows[:, None] * stride_p
    G: tl.constexpr = 2 * D + 2
    target = (head.to(tl.int64) * P + rows[:, None]) * DP + column[None, :]
    if EXACT:
        source += (column % D)[None, :]
        k = tl.load(k_from + source, mask=inside & (column[None, :] < 3 * D), other=0.0)
        v = tl.load(v_from + source, mask=inside & (column[None, :] < 2 * D), other=0.0)
        tl.store(k_to + target, tl.where(column[None, :] < 2 * D, _high(k), k - _high(k)), mask=inside)
        row = tl.where(column[None, :] < D, _high(v), v - _high(v))
        tl.store(v_to + target, tl.where(column[None, :] == 2 * D, 1.0, row), mask=inside)
    else:
        of_v = (column[None, :] >= G) & (column[None, :] < G + D)
        v = tl.load(v_from + source + (column - G)[None, :], mask=inside & of_v, other=0.0)
        source += (column % D)[None, :]
        k = tl.load(k_from + source, mask=inside & (column[None, :] < 2 * D), other=0.0)
        one_of_k = (column[None, :] >= 2 * D) & (column[None, :] < G)
        one_of_v = (column[None, :] >= G + D) & (column[None, :] < G + D + 2)
        tl.store(k_to + target, tl.where(one_of_k, 1.0, k), mask=inside)
        tl.store(v_to + target, tl.where(one_of_v, 1.0, v), mask=inside)
    lengths = tl.sum(tl.where(column[None, :] < D, k.to(tl.float32) * k.to(tl.float32), 0.0), 1)
    tl.store(longest + tl.program_id(0), tl.max(lengths, 0))


@triton.jit
def _mix(weights, v, mixed, EXACT: tl.constexpr, PRECISION: tl.constexpr):
    if EXACT:
        mixed = tl.dot(weights - _high(weights), v, mixed, input_precision=PRECISION)
        mixed = tl.dot(_high(weights), v, mixed, input_precision=PRECISION)
    else:
        mixed = tl.dot(weights.to(v.dtype), v, mixed, input_precision=PRECISION)
    return mixed


@triton.jit
def _attend(
    q_from, q_rows, k_rows, v_rows, longest, out,
    from_f, from_p, from_n, stride_f, stride_p, stride_n, scale, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, PARTS: tl.constexpr,
    KEEP: tl.constexpr, EXACT: tl.constexpr, ONE_OF: tl.constexpr, ASSEMBLER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    blocks: tl.constexpr = (P + BM - 1) // BM
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BM + tl.arange(0, BM)
    column = tl.arange(0, DP)
    first = head.to(tl.int64) * P * DP
    source = (head // heads).to(tl.int64) * from_f + (head % heads) * from_n
    source += rows[:, None] * from_p + (column % D)[None, :]
    if EXACT:
        there = (column[None, :] < 3 * D) & (rows[:, None] < P)
        whole = tl.load(q_from + source, mask=there, other=0.0) * scale
        q = tl.where((column[None, :] >= D) & (column[None, :] < 2 * D), whole - _high(whole), _high(whole))
    else:
        there = (column[None, :] < 2 * D) & (rows[:, None] < P)
        whole = tl.load(q_from + source, mask=there, other=0.0).to(tl.float32) * scale
        high = whole.to(tl.bfloat16).to(q_rows.dtype.element_ty)  # exact in TF32 too
        low = (whole - high.to(tl.float32)).to(q_rows.dtype.element_ty)
        q = tl.where(column[None, :] < D, high, low)
    lengths = tl.sum(tl.where(column[None, :] < D, whole * whole, 0.0), 1)
    longest_key = tl.load(longest + head * PARTS)
    for part in tl.static_range(1, PARTS):
        longest_key = tl.maximum(longest_key, tl.load(longest + head * PARTS + part))
    bound = tl.sqrt(tl.max(lengths, 0) * longest_key)  # upper bound of the scores (Cauchy-Schwarz)
    mixed = tl.zeros([BM, DP], tl.float32)
    highest = tl.zeros([BM], tl.float32)
    if bound < SAFE_LOG2:  # 2^score and its sums stay normal numbers, so softmax needs no running maximum
        for start in tl.range(0, P, BN):
            seen = start + tl.arange(0, BN)
            at_k = first + seen[:, None] * DP + column[None, :]
            k = tl.load(k_rows + at_k, mask=seen[:, None] < P, other=0.0)
            v = tl.load(v_rows + at_k, mask=seen[:, None] < P, other=0.0)  # the column of ones is 0 outside the frame
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # in units of log2
            weights = _powers(scores, ONE_OF, ASSEMBLER)
            mixed = _mix(weights, v, mixed, EXACT, PRECISION)
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
            mixed = _mix(weights, v, mixed, EXACT, PRECISION)
            highest = higher
    G: tl.constexpr = 2 * D + 2
    sums: tl.constexpr = 2 * D if EXACT else G + D
    total = tl.sum(tl.where(column[None, :] == sums, mixed, 0.0), 1)  # the column of ones in v sums the weights
    target = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + rows[:, None] * stride_p
    if EXACT:
        parts = tl.reshape(mixed / total[:, None], [BM, DP // D, D])
        whole = tl.sum(tl.where((tl.arange(0, DP // D) < 2)[None, :, None], parts, 0.0), 1)
        tl.store(out + target + tl.arange(0, D)[None, :], whole, mask=rows[:, None] < P)
    else:
        kept = (column[None, :] >= G) & (column[None, :] < G + D) & (rows[:, None] < P)
        mixed = (mixed / total[:, None]).to(out.dtype.element_ty)
        tl.store(out + target + (column - G)[None, :], mixed, mask=kept)
    if KEEP:
        minus = -(highest + tl.log2(total))
        minus_high = minus.to(tl.bfloat16).to(q.dtype)
        minus_low = (minus - minus_high.to(tl.float32)).to(q.dtype)
        row = tl.where(column[None, :] == 2 * D, minus_high[:, None], q)
        row = tl.where(column[None, :] == 2 * D + 1, minus_low[:, None], row)
        tl.store(q_rows + first + rows[:, None] * DP + column[None, :], row, mask=rows[:, None] < P)


@triton.jit
def _lay_out_gradient(
    grad, out, q_rows, to_rows, grad_q, stride_f, stride_p, stride_n, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    G: tl.constexpr = 2 * D + 2
    blocks: tl.constexpr = (P + BLOCK - 1) // BLOCK
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, DP)
    inside = rows[:, None] < P
    kept = inside & (column[None, :] >= G) & (column[None, :] < G + D)
    source = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + rows[:, None] * stride_p
    source += (column - G)[None, :]
    g = tl.load(grad + source, mask=kept, other=0.0).to(tl.float32)
    y = tl.load(out + source, mask=kept, other=0.0).to(tl.float32)
    minus = -tl.sum(g * y, 1)
    high = minus.to(tl.bfloat16).to(q_rows.dtype.element_ty)
    low = (minus - high.to(tl.float32)).to(q_rows.dtype.element_ty)
    at = (head.to(tl.int64) * P + rows[:, None]) * DP + column[None, :]
    row = tl.load(q_rows + at, mask=inside & (column[None, :] < G), other=0.0)
    row = tl.where(kept, g.to(row.dtype), row)
    row = tl.where(column[None, :] == G + D, high[:, None], row)
    row = tl.where(column[None, :] == G + D + 1, low[:, None], row)
    tl.store(to_rows + at, row, mask=inside)
    zeros = tl.zeros([BLOCK, DP], tl.float32)
    at = (head.to(tl.int64) * P + rows[:, None]) * D + column[None, :]
    tl.store(grad_q + at, zeros, mask=inside & (column[None, :] < D))


@triton.jit
def _attend_backward(
    q_rows, k_rows, v_rows, grad_q, grad_k, grad_v, stride_f, stride_p, stride_n, heads,
    P: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, SHORT: tl.constexpr,
    ONE_OF: tl.constexpr, ASSEMBLER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients in one pass with one exponential per score: a program owns BN keys; q gradients use atomic adds."""
    G: tl.constexpr = 2 * D + 2
    blocks: tl.constexpr = (P + BN - 1) // BN
    head = tl.program_id(0) // blocks
    seen = (tl.program_id(0) % blocks) * BN + tl.arange(0, BN)
    column = tl.arange(0, DP)
    short = tl.arange(0, SHORT)
    first = head.to(tl.int64) * P * DP
    at_k = first + seen[:, None] * DP
    k = tl.load(k_rows + at_k + column[None, :], mask=seen[:, None] < P, other=0.0)
    v = tl.load(v_rows + at_k + column[None, :], mask=seen[:, None] < P, other=0.0)
    short_k = tl.load(k_rows + at_k + short[None, :], mask=seen[:, None] < P, other=0.0)
    sum_k = tl.zeros([BN, DP], tl.float32)
    sum_v = tl.zeros([BN, DP], tl.float32)
    for start in tl.range(0, P, BM):
        rows = start + tl.arange(0, BM)
        at_q = first + rows[:, None] * DP + column[None, :]
        # Rows outside the frame are zero: their weight is 1, but they add nothing to any product.
        q = tl.load(q_rows + at_q, mask=rows[:, None] < P, other=0.0)
        scores = tl.dot(k, tl.trans(q), input_precision=PRECISION)  # [BN, BM], less log-sum-exp
        weights = _powers(scores, ONE_OF, ASSEMBLER)
        sum_v = tl.dot(weights.to(q.dtype), q, sum_v, input_precision=PRECISION)
        grad_scores = (weights * tl.dot(v, tl.trans(q), input_precision=PRECISION)).to(q.dtype)
        sum_k = tl.dot(grad_scores, q, sum_k, input_precision=PRECISION)
        part = tl.dot(tl.trans(grad_scores), short_k, input_precision=PRECISION)
        at = (head.to(tl.int64) * P + rows[:, None]) * D + short[None, :]
        tl.atomic_add(grad_q + at, part, mask=(short[None, :] < D) & (rows[:, None] < P), sem="relaxed")
    # Add the products with the high and low parts of q, and undo its factor of log2(e).
    parts = tl.reshape(sum_k, [BN, DP // D, D])
    whole = tl.sum(tl.where((tl.arange(0, DP // D) < 2)[None, :, None], parts, 0.0), 1) * LN_2
    target = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + seen[:, None] * stride_p
    tl.store(grad_k + target + tl.arange(0, D)[None, :], whole.to(grad_k.dtype.element_ty), mask=seen[:, None] < P)
    kept = (column[None, :] >= G) & (column[None, :] < G + D) & (seen[:, None] < P)
    tl.store(grad_v + target + (column - G)[None, :], sum_v.to(grad_v.dtype.element_ty), mask=kept)


@triton.jit
def _finish_queries(
    grad_q, to, stride_f, stride_p, stride_n, scale, heads, P: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr
):
    blocks: tl.constexpr = (P + BLOCK - 1) // BLOCK
    head = tl.program_id(0) // blocks
    rows = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    dim = tl.arange(0, D)[None, :]
    inside = rows[:, None] < P
    whole = tl.load(grad_q + (head.to(tl.int64) * P + rows[:, None]) * D + dim, mask=inside, other=0.0) * scale
    target = (head // heads).to(tl.int64) * stride_f + (head % heads) * stride_n + rows[:, None] * stride_p
    tl.store(to + target + dim, whole.to(to.dtype.element_ty), mask=inside)


def columns(head_dim: int) -> int:
    """Return the number of columns of a row, DP."""
    return max(16, int(triton.next_power_of_2(3 * head_dim + 4)))


def forward(qkv_FP3ND: Tensor, precision: str, *, keep: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the attention output `[F, P, N, D]` and the rows of q, k and v, `[F * N, P, DP]` each, for `backward`.

    Without ``keep`` the rows of q are empty, so `backward` is not possible.
    """
    F, P, _, N, D = qkv_FP3ND.shape
    DP = columns(D)
    q, k, v = qkv_FP3ND.unbind(2)
    rows = [qkv_FP3ND.new_empty(F * N, P if keep or part else 0, DP) for part in range(3)]
    parts = triton.cdiv(P, ROWS)
    longest = torch.empty(F * N, parts, dtype=torch.float32, device=qkv_FP3ND.device)
    out = qkv_FP3ND.new_empty(F, P, N, D)
    exact = precision == "tf32x3" and not keep
    _lay_out[(F * N * parts,)](
        k, v, rows[1], rows[2], longest, k.stride(0), k.stride(1), k.stride(2), N,
        P=P, D=D, DP=DP, BLOCK=ROWS, EXACT=exact,
    )  # fmt: skip
    BM, BN, warps, stages = FORWARD_TILES["exact" if exact else precision]
    _attend[(F * N * triton.cdiv(P, BM),)](
        q, *rows, longest, out, q.stride(0), q.stride(1), q.stride(2), out.stride(0), out.stride(1), out.stride(2),
        D**-0.5 * LOG2_E, N, P=P, D=D, DP=DP, BM=BM, BN=BN, PARTS=parts, KEEP=keep, EXACT=exact,
        **_polynomial_options(precision, FORWARD_POLYNOMIAL, bounded=True),
        PRECISION="tf32" if exact else _dot(precision), num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out, rows[0], rows[1], rows[2]


def backward(grad: Tensor, out: Tensor, q_rows: Tensor, k_rows: Tensor, v_rows: Tensor, precision: str) -> Tensor:
    """Return the gradient of qkv, `[F, P, 3, N, D]`, from the gradient of the attention output."""
    F, P, N, D = out.shape
    DP = q_rows.shape[-1]
    grad = grad.contiguous()
    rows = torch.empty_like(q_rows)
    grad_q = torch.empty(F * N, P, D, dtype=torch.float32, device=out.device)
    strides = out.stride(0), out.stride(1), out.stride(2)
    grid = (F * N * triton.cdiv(P, ROWS),)
    _lay_out_gradient[grid](grad, out, q_rows, rows, grad_q, *strides, N, P=P, D=D, DP=DP, BLOCK=ROWS)
    grad_qkv = out.new_empty(F, P, 3, N, D)
    to_q, to_k, to_v = grad_qkv.unbind(2)
    strides = to_q.stride(0), to_q.stride(1), to_q.stride(2)
    BM, BN, warps, stages = BACKWARD_TILES[precision]
    _attend_backward[(F * N * triton.cdiv(P, BN),)](
        rows, k_rows, v_rows, grad_q, to_k, to_v, *strides, N, P=P, D=D, DP=DP, BM=BM, BN=BN, SHORT=max(8, D),
        **_polynomial_options(precision, BACKWARD_POLYNOMIAL), PRECISION=_dot(precision),
        num_warps=warps, num_stages=stages,
    )  # fmt: skip
    _finish_queries[grid](grad_q, to_q, *strides, D**-0.5, N, P=P, D=D, BLOCK=ROWS)
    return grad_qkv


def _dot(precision: str) -> str:
    return "tf32" if precision == "bf16" else precision


def _polynomial_options(precision: str, one_of: int, *, bounded: bool = False) -> dict[str, Any]:
    if precision != "bf16" or not one_of:
        return {"ONE_OF": 0, "ASSEMBLER": ""}
    return {"ONE_OF": one_of, "ASSEMBLER": _assembler(one_of, bounded=bounded)}
