"""The dynamics model (third stage): predicts the tokens of the next frame from earlier tokens and latent actions.

Axes: B batch, T frames, P patches, E embedding, L latent dims, A action dims, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.reference.models.attention import KVCache
from tinyworlds_gate.reference.models.blocks import BlockModulation
from tinyworlds_gate.reference.models.positions import spatial_code
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer

MASK_TOKEN_STD = 0.02
LEAST_MASK_RATIO = 0.5
NO_TARGET = -100  # `ignore_index` of the loss, for visible positions


class DynamicsOutput(NamedTuple):
    """Output of a training pass: loss (scalar) and logits `[B, T, P, V]`."""

    loss: Tensor
    logits: Tensor


def masked_cross_entropy(logits_BTPV: Tensor, indices_BTP: Tensor, mask_BTP: Tensor) -> Tensor:
    """Return the mean cross-entropy over the masked positions (True in the mask), a scalar."""
    targets = indices_BTP.masked_fill(~mask_BTP, NO_TARGET)
    return F.cross_entropy(logits_BTPV.flatten(0, 2), targets.flatten(), ignore_index=NO_TARGET)


class DynamicsModel(nn.Module):
    """MaskGIT-style masked-token predictor, causal over frames (Genie, Bruce et al. 2024)."""

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
        """Map quantised latents and T-1 actions `[B, T-1, A]` to logits `[B, T, P, V]`.

        The mask token replaces latents where ``mask_BTP`` is True. Without conditioning the FiLM layers are not used
        and get no gradient.
        """
        return self.extend(latents_BTPL, conditioning, mask_BTP)[0]

    def extend(
        self,
        latents_BTPL: Tensor,
        conditioning: Tensor | list[BlockModulation] | None = None,
        mask_BTP: Tensor | None = None,
        kv_cache: list[KVCache] | None = None,
    ) -> tuple[Tensor, list[KVCache]]:
        """Like `forward`, for the frames after those of ``kv_cache``; return logits and the cache of the new frames.

        With a cache the conditioning has one action per frame. It may also be the FiLM parameters computed from it
        (`SpaceTimeTransformer.modulations`), so that repeated calls do not recompute them.
        """
        x_BTPE, new_cache = self._hidden(latents_BTPL, conditioning, mask_BTP, kv_cache)
        return self.output_mlp(x_BTPE), new_cache

    def prefill(self, latents_BTPL: Tensor, conditioning: Tensor | None = None) -> list[KVCache]:
        """Return the keys and values of these frames for `extend`, without computing logits."""
        return self._hidden(latents_BTPL, conditioning, None, None)[1]

    def predict_in_parallel(
        self, known_BTPL: Tensor, latents_BTPL: Tensor, conditioning_BTA: Tensor, mask_BTP: Tensor
    ) -> Tensor:
        """Predict frames 1 … T-1 in one pass and return their logits `[B, T-1, P, V]`.

        Prediction t attends to the known frames 0 … t-1 and to its own unmasked tokens, as each step of a rollout
        does. All arguments hold T frames; frame 0 of ``latents_BTPL`` and ``mask_BTP`` and frame T-1 of
        ``known_BTPL`` are not used.

        Args:
            known_BTPL: the context frames, true or generated.
            latents_BTPL: the true frames that are predicted.
            conditioning_BTA: T-1 actions, one per transition.
            mask_BTP: True where a token is hidden.
        """
        known = self.latent_embed(known_BTPL[:, :-1]) + self.spatial_code
        hidden = torch.where(mask_BTP[:, 1:, :, None], self.mask_token, latents_BTPL[:, 1:])
        predicted = self.latent_embed(hidden) + self.spatial_code
        logits: Tensor = self.output_mlp(self.transformer.predict_in_parallel(known, predicted, conditioning_BTA))
        return logits

    def loss(
        self, latents_BTPL: Tensor, indices_BTP: Tensor, conditioning: Tensor | None, mask_BTP: Tensor
    ) -> DynamicsOutput:
        """Predict the masked tokens; the loss is cross-entropy over masked positions only (docs/architecture.md)."""
        logits = self(latents_BTPL, conditioning, mask_BTP)
        return DynamicsOutput(masked_cross_entropy(logits, indices_BTP, mask_BTP), logits)

    def sample_mask(self, batch: int, frames: int, patches: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw a training mask `[B, T, P]` (True = hidden) on the model's device (docs/architecture.md).

        One ratio per batch, uniform in [0.5, 1); each position is hidden independently with this probability, and at
        each patch position one random frame stays visible. The random numbers are drawn on the generator's device.
        """
        device = generator.device if generator is not None else self.mask_token.device
        draw = torch.rand(1 + batch * frames * patches + batch * patches, generator=generator, device=device)
        ratio = LEAST_MASK_RATIO + (1 - LEAST_MASK_RATIO) * draw[0]
        mask = draw[1 : 1 + batch * frames * patches].view(batch, frames, patches) < ratio
        # Clamped, because a float32 just below 1 times a large count can round up to the count.
        visible = (draw[-batch * patches :].view(batch, 1, patches) * frames).long().clamp(max=frames - 1)
        return mask.scatter(1, visible, False).to(self.mask_token.device)

    def _hidden(
        self,
        latents_BTPL: Tensor,
        conditioning: Tensor | list[BlockModulation] | None,
        mask_BTP: Tensor | None,
        kv_cache: list[KVCache] | None,
    ) -> tuple[Tensor, list[KVCache]]:
        return self.transformer.extend_latents(
            latents_BTPL, self.latent_embed, self.spatial_code, conditioning, kv_cache, mask_BTP, self.mask_token
        )
