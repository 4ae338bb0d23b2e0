"""The space-time transformer: attention within frames, causal attention over frames, SwiGLU (post-norm).

Axes: B batch, T frames, P patches, E embedding, A action dims.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models import inference_blocks
from tinyworlds_gate.reference.models.attention import (
    PastKeysValues,
    SelfAttention,
    SpatialAttention,
    TemporalAttention,
)
from tinyworlds_gate.reference.models.inference_blocks import InferenceBlocks
from tinyworlds_gate.reference.models.norms import ConditionedNorm, Modulation, make_norm, modulations
from tinyworlds_gate.reference.models.positions import MAX_FRAMES, temporal_code
from tinyworlds_gate.reference.models.short_clips import MOST_FRAMES
from tinyworlds_gate.reference.models.sizes import ModelSizes

BlockModulation = tuple[Modulation, Modulation, Modulation]
"""Of the three norms of a block: spatial attention, temporal attention, feed-forward."""


class SwiGLU(nn.Module):
    """`norm(x + w_o(silu(w_v x) * w_g x))` with floor(2 * hidden_dim / 3) inner units (Shazeer 2020)."""

    def __init__(self, embed_dim: int, hidden_dim: int, conditioning_dim: int | None) -> None:
        super().__init__()
        inner_dim = 2 * hidden_dim // 3
        self.w_v = nn.Linear(embed_dim, inner_dim)
        self.w_g = nn.Linear(embed_dim, inner_dim)
        self.w_o = nn.Linear(inner_dim, embed_dim)
        self.norm = make_norm(embed_dim, conditioning_dim)
        self.fused: tuple[Tensor, ...] | None = None

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Maps `[B, T, P, E]` to the same shape, each token by itself.

        Both inner products are one. On a GPU the inner units are filled up to a multiple of 8 with units that are
        always zero (ZELDA has 85): matrix units then read whole words.
        """
        into, into_bias, out = self.fused or self.in_one()
        value, gate = F.linear(x_BTPE, into, into_bias).chunk(2, dim=-1)
        update = F.linear(F.silu(value) * gate, out, self.w_o.bias)
        normed: Tensor = self.norm(x_BTPE + update, conditioning)
        return normed

    def fuse(self, dtype: torch.dtype) -> None:
        """Put the weights together once, for weights that do not change any more."""
        self.fused = tuple(one.detach().to(dtype) for one in self.in_one())

    def in_one(self) -> tuple[Tensor, ...]:
        """Weight and bias of both inner products, and the outer weight."""
        fill = -self.w_v.out_features % 8 if self.w_v.weight.is_cuda else 0
        weight = torch.cat([F.pad(one.weight, (0, 0, 0, fill)) for one in (self.w_v, self.w_g)])
        bias = torch.cat([F.pad(one.bias, (0, fill)) for one in (self.w_v, self.w_g)])
        return weight, bias, F.pad(self.w_o.weight, (0, fill))


class SpaceTimeBlock(nn.Module):
    """Spatial attention, causal temporal attention, feed-forward."""

    def __init__(self, sizes: ModelSizes, conditioning_dim: int | None) -> None:
        super().__init__()
        self.spatial_attn = SpatialAttention(sizes.embed_dim, sizes.num_heads, conditioning_dim)
        self.temporal_attn = TemporalAttention(sizes.embed_dim, sizes.num_heads, conditioning_dim)
        self.ffn = SwiGLU(sizes.embed_dim, sizes.hidden_dim, conditioning_dim)

    @property
    def norms(self) -> list[ConditionedNorm]:
        """The norms of its three sub-layers, in the order in which they act, where they are conditioned."""
        norms = (self.spatial_attn.norm, self.temporal_attn.norm, self.ffn.norm)
        return [norm for norm in norms if isinstance(norm, ConditionedNorm)]

    def forward(
        self,
        x_BTPE: Tensor,
        modulation: BlockModulation | Tensor | None = None,
        past: PastKeysValues | None = None,
        *,
        twins: bool = False,
    ) -> tuple[Tensor, PastKeysValues]:
        """Maps `[B, T, P, E]` to the same shape and returns what later frames need of these.

        ``modulation`` may be the conditioning itself; ``twins``: see `TemporalAttention.forward`.
        """
        spatial: Tensor | Modulation | None
        temporal: Tensor | Modulation | None
        ffn: Tensor | Modulation | None
        if isinstance(modulation, Tensor):
            spatial = temporal = ffn = modulation
        else:
            spatial, temporal, ffn = modulation or (None, None, None)
        x_BTPE = self.spatial_attn(x_BTPE, spatial)
        x_BTPE, seen = self.temporal_attn(x_BTPE, temporal, past, twins=twins)
        return self.ffn(x_BTPE, ffn), seen


class SpaceTimeTransformer(nn.Module):
    """A stack of space-time blocks; frame t never sees frame t+1."""

    temporal_code: Tensor

    def __init__(self, sizes: ModelSizes, conditioning_dim: int | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SpaceTimeBlock(sizes, conditioning_dim) for _ in range(sizes.num_blocks))
        self.modulates_in_blocks = False
        """Each block computes its own FiLM layers, instead of all in one product before the first."""
        self.conditioned = conditioning_dim is not None
        self.in_one: InferenceBlocks | None = None
        code = temporal_code(MAX_FRAMES, sizes.embed_dim)[:, None]
        self.register_buffer("temporal_code", code, persistent=False)  # [T, 1, E]

    def fuse(self, dtype: torch.dtype) -> None:
        """Take the kernels of `inference_blocks` where they fit, for weights that do not change any more."""
        first = self.blocks[0]
        assert isinstance(first, SpaceTimeBlock)
        heads = first.spatial_attn.num_heads
        if self.temporal_code.is_cuda and inference_blocks.fit(self.temporal_code.shape[-1], heads):
            self.in_one = InferenceBlocks([block for block in self.blocks if isinstance(block, SpaceTimeBlock)], dtype)

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Maps `[B, T, P, E]` (conditioning `[B, T-1 or T, A]`) to the same shape.

        Raises ConfigError when the clip is longer than MAX_FRAMES.
        """
        return self.extend(x_BTPE, conditioning)[0]

    def modulations(self, conditioning: Tensor, frames: int) -> list[BlockModulation]:
        """What a conditioning `[B, T-1 or T, A]` of so many frames comes to in each block, for `extend`."""
        norms = [norm for block in self.blocks if isinstance(block, SpaceTimeBlock) for norm in block.norms]
        flat = iter(modulations(norms, conditioning, frames))
        return list(zip(flat, flat, flat, strict=True))

    def extend_latents(
        self,
        latents_BTPL: Tensor,
        layer: nn.Linear,
        space_PE: Tensor,
        conditioning: Tensor | list[BlockModulation] | None = None,
        past: list[PastKeysValues] | None = None,
        mask_BTP: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> tuple[Tensor, list[PastKeysValues]]:
        """As `extend`, from latents (the mask token where the mask is true), their embedding and the code of places."""
        start, end = _span(latents_BTPL.shape[1], past)
        if self.in_one is not None and end <= MOST_FRAMES and self.conditioned == (conditioning is not None):
            if isinstance(conditioning, Tensor):
                conditioning = self.modulations(conditioning, latents_BTPL.shape[1])
            entered = self.in_one.embed(latents_BTPL, layer, space_PE, self.temporal_code, start, mask_BTP, mask_token)
            return self.in_one.run(entered, conditioning, past)
        if mask_BTP is not None:
            assert mask_token is not None
            latents_BTPL = torch.where(mask_BTP[..., None], mask_token, latents_BTPL)
        return self.extend(layer(latents_BTPL) + space_PE, conditioning, past)

    def extend(
        self,
        x_BTPE: Tensor,
        conditioning: Tensor | list[BlockModulation] | None = None,
        past: list[PastKeysValues] | None = None,
    ) -> tuple[Tensor, list[PastKeysValues]]:
        """As `forward`, on frames that follow those of `past`; returns what frames after these need of these.

        Fused (`fuse`), nothing is returned of a single frame that follows others.

        Attention over frames is causal, so the frames of the past need not be computed again.
        """
        start, end = _span(x_BTPE.shape[1], past)
        if isinstance(conditioning, Tensor) and not self.modulates_in_blocks:
            conditioning = self.modulations(conditioning, x_BTPE.shape[1])
        x_BTPE = x_BTPE + self.temporal_code[start:end]
        if self.in_one is not None and end <= MOST_FRAMES and self.conditioned == isinstance(conditioning, list):
            of_all = conditioning if isinstance(conditioning, list) else None
            return self.in_one.run(self.in_one.enter(x_BTPE), of_all, past)
        seen: list[PastKeysValues] = []
        for number, block in enumerate(self.blocks):
            modulation = conditioning[number] if isinstance(conditioning, list) else conditioning
            x_BTPE, block_past = block(x_BTPE, modulation, past[number] if past else None)
            seen.append(block_past)
        return x_BTPE, seen

    def guess(self, known_BTPE: Tensor, guesses_BTPE: Tensor, conditioning_BTA: Tensor) -> Tensor:
        """What guesses of the frames 1 … T come to, `[B, T, P, E]`, guess t from the known frames before t alone.

        Known are the frames 0 … T-1, with the T actions after each of them. One pass serves all guesses: it is what
        `extend` gives for each of them after the past of its own known frames.
        """
        T = known_BTPE.shape[1]
        _span(T + 1, None)  # whether so many frames are allowed
        code = self.temporal_code
        x_BTPE = torch.cat((known_BTPE + code[:T], guesses_BTPE + code[1 : T + 1]), dim=1)
        for block, modulation in zip(self.blocks, self.modulations(conditioning_BTA, T + 1), strict=True):
            twofold = tuple(
                Modulation(*(torch.cat((one[:, :T], one[:, 1:]), dim=1) for one in of_norm)) for of_norm in modulation
            )
            x_BTPE = block(x_BTPE, twofold, twins=True)[0]
        return x_BTPE[:, T:]


@contextmanager
def projections_in_one(model: nn.Module, dtype: torch.dtype) -> Iterator[list[object]]:
    """Inside, weights that act on the same input lie in one tensor, instead of being put together at each use.

    Yields those tensors; a graph that was captured inside needs them alive. No gradient passes them.
    """
    parts = [part for part in model.modules() if isinstance(part, SelfAttention | SwiGLU)]
    for part in parts:
        part.fuse(dtype)
    try:
        yield [part.fused for part in parts]
    finally:
        for part in parts:
            part.fused = None


def _span(frames: int, past: list[PastKeysValues] | None) -> tuple[int, int]:
    """Where the frames stand that follow those of the past; ConfigError when they end after MAX_FRAMES."""
    start = past[0].keys.shape[1] if past else 0
    end = start + frames
    if end > MAX_FRAMES:
        raise ConfigError(f"A clip of {end} frames is too long; a transformer takes at most {MAX_FRAMES} at once.")
    return start, end
