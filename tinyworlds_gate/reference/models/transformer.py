"""The space-time transformer: attention within frames, causal attention over frames, SwiGLU (post-norm).

Axes: B batch, T frames, P patches, E embedding, A action dims.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.attention import (
    PastKeysValues,
)
from tinyworlds_gate.reference.models.blocks import BlockModulation, SpaceTimeBlock
from tinyworlds_gate.reference.models.kernels import fused_block
from tinyworlds_gate.reference.models.kernels.fused_block import InferenceBlocks
from tinyworlds_gate.reference.models.kernels.temporal_attention import MOST_FRAMES
from tinyworlds_gate.reference.models.norms import Modulation, modulations
from tinyworlds_gate.reference.models.positions import MAX_FRAMES, temporal_code
from tinyworlds_gate.reference.models.sizes import ModelSizes


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
        """Take the kernels of `fused_block` where they fit, for weights that do not change any more."""
        first = self.blocks[0]
        assert isinstance(first, SpaceTimeBlock)
        heads = first.spatial_attn.num_heads
        if self.temporal_code.is_cuda and fused_block.fit(self.temporal_code.shape[-1], heads):
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


def _span(frames: int, past: list[PastKeysValues] | None) -> tuple[int, int]:
    """Where the frames stand that follow those of the past; ConfigError when they end after MAX_FRAMES."""
    start = past[0].keys.shape[1] if past else 0
    end = start + frames
    if end > MAX_FRAMES:
        raise ConfigError(f"A clip of {end} frames is too long; a transformer takes at most {MAX_FRAMES} at once.")
    return start, end
