"""The dynamics model: the tokens of the next frame, from past tokens and latent actions (third stage).

Axes: B batch, T frames, P patches, E embedding, L latent dims, A action dims, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.reference.models.attention import PastKeysValues
from tinyworlds_gate.reference.models.blocks import BlockModulation
from tinyworlds_gate.reference.models.positions import spatial_code
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer

MASK_TOKEN_STD = 0.02
LEAST_MASK_RATIO = 0.5
NO_TARGET = -100  # the target of a visible position, which the loss leaves out


class DynamicsOutput(NamedTuple):
    """One training pass: loss (scalar) and logits `[B, T, P, V]`."""

    loss: Tensor
    logits: Tensor


def masked_cross_entropy(logits_BTPV: Tensor, indices_BTP: Tensor, mask_BTP: Tensor) -> Tensor:
    """Returns the mean cross-entropy over masked positions (true in the mask), a scalar."""
    targets = indices_BTP.masked_fill(~mask_BTP, NO_TARGET)
    return F.cross_entropy(logits_BTPV.flatten(0, 2), targets.flatten(), ignore_index=NO_TARGET)


class DynamicsModel(nn.Module):
    """A masked-token predictor in the manner of MaskGIT, causal over frames (Genie, Bruce et al. 2024)."""

    spatial_code: Tensor

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.mask_token = nn.Parameter(torch.randn(1, 1, 1, sizes.latent_dim) * MASK_TOKEN_STD)
        self.latent_embed = nn.Linear(sizes.latent_dim, sizes.embed_dim)
        self.transformer = SpaceTimeTransformer(sizes, conditioning_dim=sizes.action_dim)
        self.output_mlp = nn.Linear(sizes.embed_dim, sizes.vocabulary)
        self.register_buffer("spatial_code", spatial_code(sizes.grid, sizes.embed_dim), persistent=False)  # [P, E]

    def forward(
        self, latents_BTPL: Tensor, conditioning: Tensor | None = None, mask_BTP: Tensor | None = None
    ) -> Tensor:
        """Maps quantised latents (those true in the mask are hidden) and T-1 actions to logits `[B, T, P, V]`.

        Without conditioning the FiLM layers are not used and get no gradient.
        """
        return self.extend(latents_BTPL, conditioning, mask_BTP)[0]

    def extend(
        self,
        latents_BTPL: Tensor,
        conditioning: Tensor | list[BlockModulation] | None = None,
        mask_BTP: Tensor | None = None,
        past: list[PastKeysValues] | None = None,
    ) -> tuple[Tensor, list[PastKeysValues]]:
        """As `forward`, for frames that follow those of `past` (then with one action per frame); returns their past.

        What the conditioning comes to may be given instead (`transformer.modulations`), to be computed once.
        """
        x_BTPE, seen = self._hidden(latents_BTPL, conditioning, mask_BTP, past)
        return self.output_mlp(x_BTPE), seen

    def remember(self, latents_BTPL: Tensor, conditioning: Tensor | None = None) -> list[PastKeysValues]:
        """Returns the past that `extend` needs of these frames, without computing their logits."""
        return self._hidden(latents_BTPL, conditioning, None, None)[1]

    def guess(self, known_BTPL: Tensor, latents_BTPL: Tensor, conditioning_BTA: Tensor, mask_BTP: Tensor) -> Tensor:
        """Logits `[B, T-1, P, V]` of the frames 1 … T-1, each from the frames before it as they are in ``known``.

        ``latents`` are the true ones, of which a guess sees those that are not masked (both masks and latents of all T
        frames; the first frame's are not used). It is how a rollout predicts, for all frames of a clip in one pass.
        """
        known = self.latent_embed(known_BTPL[:, :-1]) + self.spatial_code
        hidden = torch.where(mask_BTP[:, 1:, :, None], self.mask_token, latents_BTPL[:, 1:])
        guesses = self.latent_embed(hidden) + self.spatial_code
        logits: Tensor = self.output_mlp(self.transformer.guess(known, guesses, conditioning_BTA))
        return logits

    def loss(
        self, latents_BTPL: Tensor, indices_BTP: Tensor, conditioning: Tensor | None, mask_BTP: Tensor
    ) -> DynamicsOutput:
        """Predicts the hidden tokens; the loss is cross-entropy over masked positions only (tinyworlds.md §1)."""
        logits = self(latents_BTPL, conditioning, mask_BTP)
        return DynamicsOutput(masked_cross_entropy(logits, indices_BTP, mask_BTP), logits)

    def sample_mask(self, batch: int, frames: int, patches: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws a training mask `[B, T, P]` (true = hidden) on the model's device.

        One ratio per batch, uniform in [0.5, 1); each position is hidden with it on its own, and one random
        frame of every place stays visible. The draw is made on the generator's device.
        """
        device = generator.device if generator is not None else self.mask_token.device
        draw = torch.rand(1 + batch * frames * patches + batch * patches, generator=generator, device=device)
        ratio = LEAST_MASK_RATIO + (1 - LEAST_MASK_RATIO) * draw[0]
        mask = draw[1 : 1 + batch * frames * patches].view(batch, frames, patches) < ratio
        # A float32 just below 1 times a large count could round up to it.
        visible = (draw[-batch * patches :].view(batch, 1, patches) * frames).long().clamp(max=frames - 1)
        return mask.scatter(1, visible, False).to(self.mask_token.device)

    def _hidden(
        self,
        latents_BTPL: Tensor,
        conditioning: Tensor | list[BlockModulation] | None,
        mask_BTP: Tensor | None,
        past: list[PastKeysValues] | None,
    ) -> tuple[Tensor, list[PastKeysValues]]:
        return self.transformer.extend_latents(
            latents_BTPL, self.latent_embed, self.spatial_code, conditioning, past, mask_BTP, self.mask_token
        )
