"""The space-time transformer: attention within frames, causal attention over frames, SwiGLU (post-norm).

Axes: B batch, T frames, P patches, E embedding, A action dims.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.attention import KVCache
from tinyworlds_gate.reference.models.blocks import BlockModulation, SpaceTimeBlock, SwiGLU
from tinyworlds_gate.reference.models.kernels import fused_block
from tinyworlds_gate.reference.models.kernels.fused_block import InferenceBlocks
from tinyworlds_gate.reference.models.kernels.temporal_attention import MOST_FRAMES
from tinyworlds_gate.reference.models.norms import Modulation, modulations
from tinyworlds_gate.reference.models.positions import MAX_FRAMES, temporal_code
from tinyworlds_gate.reference.models.sizes import ModelSizes


class SpaceTimeTransformer(nn.Module):
    """A stack of space-time blocks, causal over frames."""

    temporal_code: Tensor

    def __init__(self, sizes: ModelSizes, conditioning_dim: int | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SpaceTimeBlock(sizes, conditioning_dim) for _ in range(sizes.num_blocks))
        self.modulates_in_blocks = False
        """Each block computes its own FiLM parameters, instead of all in one product before the first block."""
        self.conditioned = conditioning_dim is not None
        self.fused_blocks: InferenceBlocks | None = None
        code = temporal_code(MAX_FRAMES, sizes.embed_dim)[:, None]
        self.register_buffer("temporal_code", code, persistent=False)  # [T, 1, E]

    def fuse(self, dtype: torch.dtype) -> None:
        """Use the kernels of `fused_block` where they support these sizes, for inference with frozen weights."""
        first = self.blocks[0]
        assert isinstance(first, SpaceTimeBlock)
        heads = first.spatial_attn.num_heads
        plain = first.spatial_attn.q_norm is None and isinstance(first.ffn, SwiGLU)  # the kernels know no variation
        if plain and self.temporal_code.is_cuda and fused_block.supports(self.temporal_code.shape[-1], heads):
            self.fused_blocks = InferenceBlocks(
                [block for block in self.blocks if isinstance(block, SpaceTimeBlock)], dtype
            )

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Map `[B, T, P, E]` (conditioning `[B, T-1 or T, A]`) to the same shape.

        Raises ConfigError when the clip is longer than MAX_FRAMES.
        """
        return self.extend(x_BTPE, conditioning)[0]

    def modulations(self, conditioning: Tensor, frames: int) -> list[BlockModulation]:
        """Compute the FiLM parameters of each block from a conditioning `[B, T-1 or T, A]` for T frames."""
        norms = [norm for block in self.blocks if isinstance(block, SpaceTimeBlock) for norm in block.norms]
        flat = iter(modulations(norms, conditioning, frames))
        return list(zip(flat, flat, flat, strict=True))

    def extend_latents(
        self,
        latents_BTPL: Tensor,
        layer: nn.Linear,
        space_PE: Tensor,
        conditioning: Tensor | list[BlockModulation] | None = None,
        kv_cache: list[KVCache] | None = None,
        mask_BTP: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> tuple[Tensor, list[KVCache]]:
        """Like `extend`, from latents: replace masked ones by the mask token, apply ``layer``, add the spatial code."""
        start, end = _span(latents_BTPL.shape[1], kv_cache)
        if self.fused_blocks is not None and end <= MOST_FRAMES and self.conditioned == (conditioning is not None):
            if isinstance(conditioning, Tensor):
                conditioning = self.modulations(conditioning, latents_BTPL.shape[1])
            first = self.fused_blocks.embed(
                latents_BTPL, layer, space_PE, self.temporal_code, start, mask_BTP, mask_token
            )
            return self.fused_blocks.run(first, conditioning, kv_cache)
        if mask_BTP is not None:
            assert mask_token is not None
            latents_BTPL = torch.where(mask_BTP[..., None], mask_token, latents_BTPL)
        return self.extend(layer(latents_BTPL) + space_PE, conditioning, kv_cache)

    def extend(
        self,
        x_BTPE: Tensor,
        conditioning: Tensor | list[BlockModulation] | None = None,
        kv_cache: list[KVCache] | None = None,
    ) -> tuple[Tensor, list[KVCache]]:
        """Like `forward`, for the frames after those of ``kv_cache``; also return the cache of the new frames.

        Attention over frames is causal, so the cached frames need no recomputation. After `fuse`, the returned cache
        is empty for a single frame that follows cached ones.
        """
        start, end = _span(x_BTPE.shape[1], kv_cache)
        if isinstance(conditioning, Tensor) and not self.modulates_in_blocks:
            conditioning = self.modulations(conditioning, x_BTPE.shape[1])
        x_BTPE = x_BTPE + self.temporal_code[start:end]
        if self.fused_blocks is not None and end <= MOST_FRAMES and self.conditioned == isinstance(conditioning, list):
            modulations = conditioning if isinstance(conditioning, list) else None
            return self.fused_blocks.run(self.fused_blocks.project(x_BTPE), modulations, kv_cache)
        new_cache: list[KVCache] = []
        for number, block in enumerate(self.blocks):
            modulation = conditioning[number] if isinstance(conditioning, list) else conditioning
            x_BTPE, block_cache = block(x_BTPE, modulation, kv_cache[number] if kv_cache else None)
            new_cache.append(block_cache)
        return x_BTPE, new_cache

    def predict_in_parallel(self, known_BTPE: Tensor, predicted_BTPE: Tensor, conditioning_BTA: Tensor) -> Tensor:
        """Predict frames 1 … T in parallel, `[B, T, P, E]`; prediction t attends to the known frames before t.

        ``known_BTPE`` holds the frames 0 … T-1, ``conditioning_BTA`` the T actions after them, ``predicted_BTPE`` the
        embedded inputs of the frames 1 … T. Each prediction equals what `extend` returns for that frame with a cache
        of the known frames before it. Raises ConfigError when T is not below MAX_FRAMES.
        """
        T = known_BTPE.shape[1]
        _span(T + 1, None)
        code = self.temporal_code
        x_BTPE = torch.cat((known_BTPE + code[:T], predicted_BTPE + code[1 : T + 1]), dim=1)
        for block, modulation in zip(self.blocks, self.modulations(conditioning_BTA, T + 1), strict=True):
            both_halves = tuple(
                Modulation(*(torch.cat((one[:, :T], one[:, 1:]), dim=1) for one in of_norm)) for of_norm in modulation
            )
            x_BTPE = block(x_BTPE, both_halves, parallel_prediction=True)[0]
        return x_BTPE[:, T:]


def _span(frames: int, kv_cache: list[KVCache] | None) -> tuple[int, int]:
    """Return start and end position of the frames after those of the cache; ConfigError beyond MAX_FRAMES."""
    start = kv_cache[0].keys.shape[1] if kv_cache else 0
    end = start + frames
    if end > MAX_FRAMES:
        raise ConfigError(f"A clip of {end} frames is too long; at most {MAX_FRAMES} are allowed. Use shorter clips.")
    return start, end
