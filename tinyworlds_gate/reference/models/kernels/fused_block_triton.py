"""The Triton kernels of `fused_block`: the per-token operations of a transformer block.

Axes: B clips, T frames, S cached frames, P places (patches), E embedding, N heads, D dims of a head.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPS = tl.constexpr(1e-5)
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _linear(x, weight, bias, first, IN: tl.constexpr, OUT: tl.constexpr, PRECISION: tl.constexpr):
    """Apply OUT rows of the linear layer `[out, IN]`, starting at row ``first``."""
    row = first + tl.arange(0, OUT)
    w = tl.load(weight + row[None, :] * IN + tl.arange(0, IN)[:, None])
    return tl.dot(x.to(w.dtype), w, input_precision=PRECISION) + tl.load(bias + row).to(tl.float32)[None, :]


@triton.jit
def _norm(x, gain, shift, E: tl.constexpr, FILM: tl.constexpr):
    """RMSNorm with gain, or with FILM LayerNorm modulated by gamma (``gain``) and beta (``shift``)."""
    column = tl.arange(0, E)
    by = tl.load(gain + column).to(tl.float32)[None, :]
    if FILM:
        centred = x - (tl.sum(x, 1) / E)[:, None]
        deviation = tl.sqrt(tl.sum(centred * centred, 1) / E + EPS)
        normed = centred / deviation[:, None] * (1 + by) + tl.load(shift + column).to(tl.float32)[None, :]
    else:
        normed = x / tl.sqrt(tl.sum(x * x, 1) / E + EPS)[:, None] * by
    return normed


@triton.jit
def _by_head(x, BM: tl.constexpr, N: tl.constexpr, D: tl.constexpr):
    """Sum over the dims of each head, broadcast back to these dims."""
    sums = tl.sum(tl.reshape(x, [BM, N, D]), 2)
    return tl.reshape(tl.broadcast_to(sums[:, :, None], [BM, N, D]), [BM, N * D])


@triton.jit
def _embed_and_project(
    latents, mask, mask_token, embed, embed_bias, space, time, x_to, qkv_to, qkv, qkv_bias, frames, places, start,
    E: tl.constexpr, L: tl.constexpr, BM: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Embed latents (masked ones by the mask token), add both position codes, project to the first block's q, k, v."""
    frame = tl.program_id(1)
    place = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = place < places
    column = tl.arange(0, E)
    row = frame.to(tl.int64) * places + place
    code = tl.load(time + (start + frame % frames) * E + column) + tl.load(embed_bias + column).to(tl.float32)
    x = tl.load(space + place[:, None] * E + column[None, :], mask=inside[:, None], other=0.0) + code[None, :]
    if MASKED:
        hidden = tl.load(mask + row, mask=inside, other=0) != 0
    for one in tl.static_range(L):
        value = tl.load(latents + row * L + one, mask=inside, other=0.0).to(tl.float32)
        if MASKED:
            value = tl.where(hidden, tl.load(mask_token + one).to(tl.float32), value)
        x += value[:, None] * tl.load(embed + column * L + one).to(tl.float32)[None, :]
    at_qkv = row[:, None] * (3 * E) + column[None, :]
    for part in tl.static_range(3):
        y = _linear(x, qkv, qkv_bias, part * E, E, E, PRECISION)
        tl.store(qkv_to + at_qkv + part * E, y.to(qkv_to.dtype.element_ty), mask=inside[:, None])
    tl.store(x_to + row[:, None] * E + column[None, :], x, mask=inside[:, None])


@triton.jit
def _after_attention(
    x_from, mixed_from, x_to, qkv_to, past_keys, past_values,
    space_out, space_out_bias, time_qkv, time_qkv_bias, time_out, time_out_bias,
    into, into_bias, out_of, out_of_bias, next_qkv, next_qkv_bias,
    gain_1, gain_2, gain_3, shift_1, shift_2, shift_3, film_b, film_t, past_b, past_s, past_p, scale, frames, places,
    E: tl.constexpr, N: tl.constexpr, D: tl.constexpr, INNER: tl.constexpr, CHUNK: tl.constexpr, S: tl.constexpr,
    BM: tl.constexpr, FILM: tl.constexpr, SPACE: tl.constexpr, TIME: tl.constexpr, FFN: tl.constexpr,
    NEXT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Compute the part of a block after an attention, whose output is ``mixed``.

    SPACE: ``mixed`` is the output of spatial attention; project, normalise, compute q, k, v of temporal attention.
    TIME: also compute temporal attention, for one frame with S cached ones. FFN: from the output of temporal attention
    to the end of the block. NEXT: also compute q, k, v of the next block.
    """
    frame = tl.program_id(1)
    clip = (frame // frames).to(tl.int64)
    place = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = place[:, None] < places
    column = tl.arange(0, E)[None, :]
    row = frame.to(tl.int64) * places + place[:, None]
    at = row * E + column
    at_qkv = row * (3 * E) + column
    film = clip * film_b + (frame % frames) * film_t
    x = tl.load(x_from + at, mask=inside, other=0.0).to(tl.float32)
    mixed = tl.load(mixed_from + at, mask=inside, other=0.0)
    if SPACE:
        x += _linear(mixed, space_out, space_out_bias, 0, E, E, PRECISION)
        x = _norm(x, gain_1 + film, shift_1 + film, E, FILM)
        q = _linear(x, time_qkv, time_qkv_bias, 0, E, E, PRECISION)
        k = _linear(x, time_qkv, time_qkv_bias, E, E, E, PRECISION)
        v = _linear(x, time_qkv, time_qkv_bias, 2 * E, E, E, PRECISION)
        if TIME:
            q = q * scale * LOG2_E
            highest = _by_head(q * k, BM, N, D)
            total = tl.full([BM, E], 1.0, tl.float32)
            attended = v
            at_past = clip * past_b + place[:, None].to(tl.int64) * past_p + column
            for earlier in tl.static_range(S):
                key = tl.load(past_keys + at_past + earlier * past_s, mask=inside, other=0.0).to(tl.float32)
                value = tl.load(past_values + at_past + earlier * past_s, mask=inside, other=0.0).to(tl.float32)
                score = _by_head(q * key, BM, N, D)
                higher = tl.maximum(highest, score)
                shrink, weight = tl.exp2(highest - higher), tl.exp2(score - higher)
                total = total * shrink + weight
                attended = attended * shrink + weight * value
                highest = higher
            mixed = (attended / total).to(mixed.dtype)
        else:
            tl.store(qkv_to + at_qkv, q.to(qkv_to.dtype.element_ty), mask=inside)
            tl.store(qkv_to + at_qkv + E, k.to(qkv_to.dtype.element_ty), mask=inside)
            tl.store(qkv_to + at_qkv + 2 * E, v.to(qkv_to.dtype.element_ty), mask=inside)
    if FFN:
        x += _linear(mixed, time_out, time_out_bias, 0, E, E, PRECISION)
        x = _norm(x, gain_2 + film, shift_2 + film, E, FILM)
        update = tl.zeros([BM, E], tl.float32)
        operand = x.to(into.dtype.element_ty)
        for start in tl.static_range(0, INNER, CHUNK):
            inner_unit = start + tl.arange(0, CHUNK)
            there = inner_unit[None, :] < INNER
            at_w = inner_unit[None, :] * E + tl.arange(0, E)[:, None]
            w_v = tl.load(into + at_w, mask=there, other=0.0)
            w_g = tl.load(into + INNER * E + at_w, mask=there, other=0.0)
            b_v = tl.load(into_bias + inner_unit, mask=inner_unit < INNER, other=0.0).to(tl.float32)
            b_g = tl.load(into_bias + INNER + inner_unit, mask=inner_unit < INNER, other=0.0).to(tl.float32)
            value = tl.dot(operand, w_v, input_precision=PRECISION) + b_v[None, :]
            gate = tl.dot(operand, w_g, input_precision=PRECISION) + b_g[None, :]
            hidden = value / (1 + tl.exp(-value)) * gate
            at_o = tl.arange(0, E)[None, :] * INNER + inner_unit[:, None]
            w_o = tl.load(out_of + at_o, mask=inner_unit[:, None] < INNER, other=0.0)
            update = tl.dot(hidden.to(w_o.dtype), w_o, update, input_precision=PRECISION)
        x += update + tl.load(out_of_bias + tl.arange(0, E)).to(tl.float32)[None, :]
        x = _norm(x, gain_3 + film, shift_3 + film, E, FILM)
        if NEXT:
            for part in tl.static_range(3):
                y = _linear(x, next_qkv, next_qkv_bias, part * E, E, E, PRECISION)
                tl.store(qkv_to + at_qkv + part * E, y.to(qkv_to.dtype.element_ty), mask=inside)
    tl.store(x_to + at, x.to(x_to.dtype.element_ty), mask=inside)
