"""A transformer for rollouts on a GPU: attention within frames, and one kernel for all else of a block.

Operation by operation a block is 17 kernels of a few microseconds; here it is three (docs/performance.md). Weights must
not change any more, and nothing has a gradient.

Axes: B clips, T frames, P places, L latent dims, E embedding, N heads, D dims of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.reference.models.attention import PastKeysValues
from tinyworlds_gate.reference.models.kernels import spatial_attention, temporal_attention
from tinyworlds_gate.reference.models.norms import ConditionedNorm, PlainNorm

if TYPE_CHECKING:
    from tinyworlds_gate.reference.models.blocks import BlockModulation, SpaceTimeBlock

LEAST_EMBEDDING, MOST_EMBEDDING = 16, 64
CHUNK = 32  # inner units of the feed-forward at once


def fit(embed_dim: int, num_heads: int) -> bool:
    """Whether `InferenceBlocks` takes such a transformer on this machine's GPU."""
    power_of_two = embed_dim & (embed_dim - 1) == 0
    return (
        LEAST_EMBEDDING <= embed_dim <= MOST_EMBEDDING
        and power_of_two
        and spatial_attention.fit(embed_dim // num_heads)
    )


class Entered(NamedTuple):
    """What stands before the first block: x `[B, T, P, E]` and its queries, keys and values `[B, T, P, 3 * E]`."""

    x: Tensor
    qkv: Tensor


class InferenceBlocks:
    """The blocks of a transformer with their weights as they were when this was made."""

    def __init__(self, blocks: list[SpaceTimeBlock], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._blocks = blocks
        self._weights = [_weights_of(block, dtype) for block in blocks]

    def enter(self, x_BTPE: Tensor) -> Entered:
        """Queries, keys and values of the first block for what is embedded already."""
        x = x_BTPE.float().contiguous()
        with torch.autocast("cuda", enabled=False):
            return Entered(x, F.linear(x.to(self._dtype), *self._weights[0]["qkv"]))

    def embed(
        self,
        latents_BTPL: Tensor,
        layer: nn.Linear,
        space_PE: Tensor,
        time_T1E: Tensor,
        start: int,
        mask_BTP: Tensor | None,
        mask_token: Tensor | None,
    ) -> Entered:
        """The same from latents (the mask token where the mask is true), for frames from ``start`` on."""
        from tinyworlds_gate.reference.models.kernels import fused_block_triton as kernels

        B, T, P, L = latents_BTPL.shape
        weights = self._weights[0]
        E = space_PE.shape[-1]
        latents = latents_BTPL.contiguous()
        x = torch.empty(B, T, P, E, dtype=torch.float32, device=latents.device)
        qkv = torch.empty(B, T, P, 3 * E, dtype=self._dtype, device=latents.device)
        masked = mask_BTP is not None and mask_token is not None
        BM, warps = _tile(B * T * P)
        kernels._enter[((P + BM - 1) // BM, B * T)](
            latents, mask_BTP.contiguous().view(torch.uint8) if mask_BTP is not None else latents,
            mask_token if mask_token is not None else latents, layer.weight, layer.bias, space_PE, time_T1E,
            x, qkv, *weights["qkv"], T, P, start,
            E=E, L=L, BM=BM, MASKED=masked, PRECISION=_precision(qkv), num_warps=warps,
        )  # fmt: skip
        return Entered(x, qkv)

    def run(
        self, entered: Entered, modulations: list[BlockModulation] | None, past: list[PastKeysValues] | None
    ) -> tuple[Tensor, list[PastKeysValues]]:
        """As `SpaceTimeTransformer.extend` from its first block on; after a single frame no past is returned."""
        x, qkv = entered
        B, T, P, _ = x.shape
        first = self._blocks[0].spatial_attn
        N, D = first.num_heads, first.head_dim
        seen: list[PastKeysValues] = []
        for number, weights in enumerate(self._weights):
            more = self._weights[number + 1]["qkv"] if number + 1 < len(self._weights) else None
            film = None if modulations is None else modulations[number]
            before = past[number] if past else None
            mixed = spatial_attention.attend_only(qkv.view(B * T, P, 3, N, D))
            if before is not None and T == 1:
                x, qkv = _launch(x, mixed, weights, more, film, before, space=True, ffn=True)
                continue
            x, qkv = _launch(x, mixed, weights, None, film, None, space=True, ffn=False)
            split = qkv.view(B, T, P, 3, N, D)
            seen.append(PastKeysValues(split[:, :, :, 1], split[:, :, :, 2]))
            mixed = (
                temporal_attention.attend(split)
                if before is None
                else temporal_attention.attend_to_past(split, *before)
            )
            x, qkv = _launch(x, mixed, weights, more, film, None, space=False, ffn=True)
        return x, seen


def _weights_of(block: SpaceTimeBlock, dtype: torch.dtype) -> dict[str, Any]:
    space, time, ffn = block.spatial_attn, block.temporal_attn, block.ffn

    def kept(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.detach().to(dtype).contiguous() for one in tensors)

    into, into_bias, out_of = kept(*ffn.in_one())
    return {
        "qkv": kept(*space.in_one()),
        "heads": space.num_heads,
        "inner": out_of.shape[1],
        "matrices": (
            *kept(space.out_proj.weight, space.out_proj.bias),
            *kept(*time.in_one()),
            *kept(time.out_proj.weight, time.out_proj.bias),
            into,
            into_bias,
            out_of,
            *kept(ffn.w_o.bias),
        ),
        "norms": [space.norm, time.norm, ffn.norm],
    }


def _launch(
    x: Tensor,
    mixed: Tensor,
    weights: dict[str, Any],
    next_qkv: tuple[Tensor, Tensor] | None,
    film: BlockModulation | None,
    past: PastKeysValues | None,
    *,
    space: bool,
    ffn: bool,
) -> tuple[Tensor, Tensor]:
    """Returns x and queries, keys and values of the next attention (empty after the last block)."""
    from tinyworlds_gate.reference.models.kernels import fused_block_triton as kernels

    B, T, P, E = x.shape
    N = weights["heads"]
    goes_on = not ffn or next_qkv is not None
    to = torch.empty_like(x)
    qkv = torch.empty(B, T, P, 3 * E if goes_on else 0, dtype=mixed.dtype, device=x.device)
    gains: list[Tensor]
    if film is None:
        gains = [norm.rms.weight for norm in weights["norms"] if isinstance(norm, PlainNorm)]
        shifts, strides = gains, (0, 0)
    else:
        assert all(isinstance(norm, ConditionedNorm) for norm in weights["norms"])
        gains, shifts = [one.gamma for one in film], [one.beta for one in film]
        strides = gains[0].stride(0), gains[0].stride(1)
    keys, values = (x, x) if past is None else past
    BM, warps = _tile(B * T * P)
    kernels._after_attention[((P + BM - 1) // BM, B * T)](
        x, mixed, to, qkv, keys, values, *weights["matrices"], *(next_qkv or weights["qkv"]), *gains, *shifts,
        *strides, *keys.stride()[:3], (E // N) ** -0.5, T, P,
        E=E, N=N, D=E // N, INNER=weights["inner"], CHUNK=CHUNK, S=0 if past is None else keys.shape[1], BM=BM,
        FILM=film is not None, SPACE=space, TIME=past is not None, FFN=ffn, NEXT=next_qkv is not None,
        PRECISION=_precision(mixed), num_warps=warps,
    )  # fmt: skip
    return to, qkv


def _precision(x: Tensor) -> str:
    precision = spatial_attention.precision_of(x)
    return "tf32" if precision == "bf16" else precision


def _tile(tokens: int) -> tuple[int, int]:
    """Places of a program, and its warps: many small programs where one clip is all there is."""
    return (64, 4) if tokens > 32_768 else (16, 4)
