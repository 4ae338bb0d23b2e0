"""Fused transformer blocks for rollouts on a GPU: spatial attention, and one kernel for the rest of a block.

Eagerly a block launches 17 kernels of a few microseconds; fused it launches three (docs/performance.md). For inference
only: the weights must be frozen, and nothing has a gradient.

Axes: B clips, T frames, P places (patches), L latent dims, E embedding, N heads, D dims of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.reference.models.attention import KVCache
from tinyworlds_gate.reference.models.kernels import spatial_attention, temporal_attention
from tinyworlds_gate.reference.models.norms import ConditionedNorm, PlainNorm

if TYPE_CHECKING:
    from tinyworlds_gate.reference.models.blocks import BlockModulation, SpaceTimeBlock

LEAST_EMBEDDING, MOST_EMBEDDING = 16, 64
CHUNK = 32  # inner units of the feed-forward layer per iteration


def supports(embed_dim: int, num_heads: int) -> bool:
    """Whether `InferenceBlocks` supports a transformer of these sizes on this machine's GPU."""
    power_of_two = embed_dim & (embed_dim - 1) == 0
    return (
        LEAST_EMBEDDING <= embed_dim <= MOST_EMBEDDING
        and power_of_two
        and spatial_attention.supports(embed_dim // num_heads)
    )


class BlockInput(NamedTuple):
    """Input of a block: x `[B, T, P, E]` and its queries, keys and values `[B, T, P, 3 * E]`."""

    x: Tensor
    qkv: Tensor


class InferenceBlocks:
    """The blocks of a transformer, with a copy of their weights made at construction."""

    def __init__(self, blocks: list[SpaceTimeBlock], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._blocks = blocks
        self._weights = [_weights_of(block, dtype) for block in blocks]

    def project(self, x_BTPE: Tensor) -> BlockInput:
        """Return the input of the first block for embedded tokens `[B, T, P, E]`."""
        x = x_BTPE.float().contiguous()
        with torch.autocast("cuda", enabled=False):
            return BlockInput(x, F.linear(x.to(self._dtype), *self._weights[0]["qkv"]))

    def embed(
        self,
        latents_BTPL: Tensor,
        layer: nn.Linear,
        space_PE: Tensor,
        time_T1E: Tensor,
        start: int,
        mask_BTP: Tensor | None,
        mask_token: Tensor | None,
    ) -> BlockInput:
        """Return the input of the first block for latents, whose first frame has position ``start``.

        The mask token replaces latents where the mask is True.
        """
        from tinyworlds_gate.reference.models.kernels import fused_block_triton as kernels

        B, T, P, L = latents_BTPL.shape
        weights = self._weights[0]
        E = space_PE.shape[-1]
        latents = latents_BTPL.contiguous()
        x = torch.empty(B, T, P, E, dtype=torch.float32, device=latents.device)
        qkv = torch.empty(B, T, P, 3 * E, dtype=self._dtype, device=latents.device)
        masked = mask_BTP is not None and mask_token is not None
        BM, warps = _tile(B * T * P)
        kernels._embed_and_project[((P + BM - 1) // BM, B * T)](
            latents, mask_BTP.contiguous().view(torch.uint8) if mask_BTP is not None else latents,
            mask_token if mask_token is not None else latents, layer.weight, layer.bias, space_PE, time_T1E,
            x, qkv, *weights["qkv"], T, P, start,
            E=E, L=L, BM=BM, MASKED=masked, PRECISION=_precision(qkv), num_warps=warps,
        )  # fmt: skip
        return BlockInput(x, qkv)

    def run(
        self, block_input: BlockInput, modulations: list[BlockModulation] | None, kv_cache: list[KVCache] | None
    ) -> tuple[Tensor, list[KVCache]]:
        """Run all blocks like `SpaceTimeTransformer.extend`.

        The returned cache is empty for a single frame that follows cached ones.
        """
        x, qkv = block_input
        B, T, P, _ = x.shape
        first = self._blocks[0].spatial_attn
        N, D = first.num_heads, first.head_dim
        new_cache: list[KVCache] = []
        for number, weights in enumerate(self._weights):
            next_qkv = self._weights[number + 1]["qkv"] if number + 1 < len(self._weights) else None
            film = None if modulations is None else modulations[number]
            block_cache = kv_cache[number] if kv_cache else None
            mixed = spatial_attention.attend_no_grad(qkv.view(B * T, P, 3, N, D))
            if block_cache is not None and T == 1:
                x, qkv = _launch(x, mixed, weights, next_qkv, film, block_cache, space=True, ffn=True)
                continue
            x, qkv = _launch(x, mixed, weights, None, film, None, space=True, ffn=False)
            split = qkv.view(B, T, P, 3, N, D)
            new_cache.append(KVCache(split[:, :, :, 1], split[:, :, :, 2]))
            mixed = (
                temporal_attention.attend(split)
                if block_cache is None
                else temporal_attention.attend_with_cache(split, *block_cache)
            )
            x, qkv = _launch(x, mixed, weights, next_qkv, film, None, space=False, ffn=True)
        return x, new_cache


def _weights_of(block: SpaceTimeBlock, dtype: torch.dtype) -> dict[str, Any]:
    space, time, ffn = block.spatial_attn, block.temporal_attn, block.ffn

    def converted(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.detach().to(dtype).contiguous() for one in tensors)

    into, into_bias, out_of = converted(*ffn.fused_weights())
    return {
        "qkv": converted(*space.fused_weights()),
        "heads": space.num_heads,
        "inner": out_of.shape[1],
        "matrices": (
            *converted(space.out_proj.weight, space.out_proj.bias),
            *converted(*time.fused_weights()),
            *converted(time.out_proj.weight, time.out_proj.bias),
            into,
            into_bias,
            out_of,
            *converted(ffn.w_o.bias),
        ),
        "norms": [space.norm, time.norm, ffn.norm],
    }


def _launch(
    x: Tensor,
    mixed: Tensor,
    weights: dict[str, Any],
    next_qkv: tuple[Tensor, Tensor] | None,
    film: BlockModulation | None,
    kv_cache: KVCache | None,
    *,
    space: bool,
    ffn: bool,
) -> tuple[Tensor, Tensor]:
    """Run `_after_attention`; return x and the input of the next attention (empty after the last block)."""
    from tinyworlds_gate.reference.models.kernels import fused_block_triton as kernels

    B, T, P, E = x.shape
    N = weights["heads"]
    returns_qkv = not ffn or next_qkv is not None
    to = torch.empty_like(x)
    qkv = torch.empty(B, T, P, 3 * E if returns_qkv else 0, dtype=mixed.dtype, device=x.device)
    gains: list[Tensor]
    if film is None:
        gains = [norm.rms.weight for norm in weights["norms"] if isinstance(norm, PlainNorm)]
        shifts, strides = gains, (0, 0)
    else:
        assert all(isinstance(norm, ConditionedNorm) for norm in weights["norms"])
        gains, shifts = [one.gamma for one in film], [one.beta for one in film]
        strides = gains[0].stride(0), gains[0].stride(1)
    keys, values = (x, x) if kv_cache is None else kv_cache
    BM, warps = _tile(B * T * P)
    kernels._after_attention[((P + BM - 1) // BM, B * T)](
        x, mixed, to, qkv, keys, values, *weights["matrices"], *(next_qkv or weights["qkv"]), *gains, *shifts,
        *strides, *keys.stride()[:3], (E // N) ** -0.5, T, P,
        E=E, N=N, D=E // N, INNER=weights["inner"], CHUNK=CHUNK, S=0 if kv_cache is None else keys.shape[1], BM=BM,
        FILM=film is not None, SPACE=space, TIME=kv_cache is not None, FFN=ffn, NEXT=next_qkv is not None,
        PRECISION=_precision(mixed), num_warps=warps,
    )  # fmt: skip
    return to, qkv


def _precision(x: Tensor) -> str:
    precision = spatial_attention.precision_of(x)
    return "tf32" if precision == "bf16" else precision


def _tile(tokens: int) -> tuple[int, int]:
    """Return the places per program and the number of warps; few tokens are split into many small programs."""
    return (64, 4) if tokens > 32_768 else (16, 4)
