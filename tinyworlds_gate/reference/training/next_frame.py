"""Dynamics training that matches the rollout: predict each frame from complete frames before it.

TinyWorlds masks tokens in all frames of a clip, so most predictions are made from an incomplete context, which does not
occur in a rollout. Here all frames of a clip are predicted in one pass, each from complete earlier frames
(`DynamicsModel.predict_in_parallel`). To reduce error accumulation, the context of some clips consists of the model's
own predictions, and noise can be added to the others.

Axes: B clips, T frames, C channels, P patches, L latent dims, A action dims, V vocabulary.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyworlds_gate.config.schema import DynamicsConfig
from tinyworlds_gate.reference.models.attention import KVCache
from tinyworlds_gate.reference.models.blocks import fuse_projections
from tinyworlds_gate.reference.models.dynamics import LEAST_MASK_RATIO, DynamicsModel, masked_cross_entropy
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.maskgit import choose_tokens, token_chooser, write_tokens
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.objectives import DynamicsObjective
from tinyworlds_gate.reference.training.regional_compile import uncompiled
from tinyworlds_gate.reference.training.token_clips import TokenClips, cacheable


class NextFrameObjective(DynamicsObjective):
    """Objective of dynamics for the setting ``masking: next_frame``."""

    def __init__(
        self, sizes: ModelSizes, tokenizer: VideoTokenizer, latent_actions: LatentActionModel, settings: DynamicsConfig
    ) -> None:
        super().__init__(sizes, tokenizer, latent_actions)
        self.settings = settings
        self._choose = token_chooser(settings.token_choice, tokenizer.quantizer) or choose_tokens

    @property
    def dynamics(self) -> DynamicsModel:
        """The model that is trained."""
        assert isinstance(self.model, DynamicsModel)
        return self.model

    def use_tokens(self, batches: BatchSource, *, autocast: bool) -> None:
        if cacheable(*self._frozen):
            with_frames = self.settings.pixel_loss > 0
            batches.use_tokens(*self._frozen, autocast=autocast, with_frames=with_frames)

    @torch.no_grad()
    def prepare(self, clips: Tensor | TokenClips) -> tuple[Tensor, ...]:
        tokenizer, latent_actions = self._frozen
        if isinstance(clips, TokenClips):
            indices_BTP, frames_BTCHW = clips.indices_BTP, clips.frames_BTCHW
            latents_BTPL = tokenizer.quantizer.latents_from_indices(indices_BTP)
            actions_BTA = latent_actions.quantizer.latents_from_indices(clips.codes_BT)
        else:
            frames_BTCHW = clips
            latents_BTPL = tokenizer.encode(frames_BTCHW)
            indices_BTP = tokenizer.quantizer.indices_from_latents(latents_BTPL)
            actions_BTA = latent_actions.encode(frames_BTCHW)
        known_BTPL = self._known(latents_BTPL, actions_BTA)
        inputs = (known_BTPL, latents_BTPL, indices_BTP, actions_BTA, self._mask(indices_BTP))
        return inputs if frames_BTCHW is None else (*inputs, frames_BTCHW)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        known_BTPL, latents_BTPL, indices_BTP, actions_BTA, mask_BTP = inputs[:5]
        logits = self.dynamics.predict_in_parallel(known_BTPL, latents_BTPL, actions_BTA, mask_BTP)
        loss = self._cross_entropy(logits, indices_BTP, mask_BTP)
        if self.settings.pixel_loss > 0:
            loss = loss + self.settings.pixel_loss * self._pixel_error(logits, inputs[5][:, 1:])
        return loss, indices_BTP

    def _cross_entropy(self, logits: Tensor, indices_BTP: Tensor, mask_BTP: Tensor) -> Tensor:
        """Return the mean over the hidden tokens, in which changed ones weigh ``1 + changed_weight``."""
        if self.settings.changed_weight == 0:
            return masked_cross_entropy(logits, indices_BTP[:, 1:], mask_BTP[:, 1:])
        errors = F.cross_entropy(logits.flatten(0, 2), indices_BTP[:, 1:].flatten(), reduction="none")
        changed = (indices_BTP[:, 1:] != indices_BTP[:, :-1]).flatten()
        weights = mask_BTP[:, 1:].flatten() * (1 + self.settings.changed_weight * changed)
        return (weights * errors).sum() / weights.sum()

    def _mask(self, indices_BTP: Tensor) -> Tensor:
        """Draw a mask `[B, T, P]` (True = hidden): all tokens of some frames, a random share of the other frames."""
        B, T, P = indices_BTP.shape
        draw = torch.rand(2, B, T, 1, device=indices_BTP.device)
        ratio = LEAST_MASK_RATIO + (1 - LEAST_MASK_RATIO) * draw[0]
        ratio = torch.where(draw[1] < self.settings.whole_frame_share, 1.0, ratio)
        return torch.rand(B, T, P, device=indices_BTP.device) < ratio

    def _known(self, latents_BTPL: Tensor, actions_BTA: Tensor) -> Tensor:
        """Return the context frames `[B, T, P, L]`: generated in some clips, true with noise in the others."""
        settings, device = self.settings, latents_BTPL.device
        B, T, P, _ = latents_BTPL.shape
        own = math.ceil(settings.own_context * B)
        true_BTPL = latents_BTPL[own:]
        if settings.context_noise > 0:
            share = settings.context_noise * torch.rand(B - own, 1, 1, device=device)
            noisy = torch.rand(B - own, T, P, device=device) < share
            random = torch.randint(self.codebook_size, (B - own, T, P), device=device)
            drawn = self._frozen[0].quantizer.latents_from_indices(random).to(true_BTPL.dtype)
            true_BTPL = torch.where(noisy[..., None], drawn, true_BTPL)
        if own == 0:
            return true_BTPL
        return torch.cat((self._rolled_out(latents_BTPL[:own], actions_BTA[:own]), true_BTPL))

    def _rolled_out(self, latents_BTPL: Tensor, actions_BTA: Tensor) -> Tensor:
        """Replace the frames after ``true_context`` by the model's predictions, as a rollout does.

        The last frame stays true, since no prediction uses it as context.
        """
        context, last = self.settings.true_context, latents_BTPL.shape[1] - 1
        frames = list(latents_BTPL.split(1, dim=1))
        hidden = torch.ones(latents_BTPL[:, :1].shape[:3], dtype=torch.bool, device=latents_BTPL.device)
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else latents_BTPL.dtype
        kv_cache: list[KVCache] | None = None
        # Each step has a different shape, and compiling a dozen of them costs more time than it saves.
        with uncompiled() if latents_BTPL.is_cuda else nullcontext(), fuse_projections(self.dynamics, dtype):
            for frame in range(context, last):
                # One pass over the frames not yet cached and the masked frame that is predicted.
                new = range(0 if kv_cache is None else frame - 1, frame + 1)
                latents = torch.cat([frames[one] for one in new], dim=1)
                mask = torch.cat([*[~hidden] * (len(new) - 1), hidden], dim=1)
                actions = actions_BTA[:, max(0, new.start - 1) : frame]
                logits, new_cache = self.dynamics.extend(latents, actions, mask, kv_cache)
                known = [one.first(len(new) - 1) for one in new_cache]
                kv_cache = [old.append(one) for old, one in zip(kv_cache, known, strict=True)] if kv_cache else known
                tokens, _ = self._choose(logits[:, -1:], 0.0, None)
                frames[frame] = write_tokens(frames[frame], hidden, tokens, self._frozen[0].quantizer)
        return torch.cat(frames, dim=1)

    def _pixel_error(self, logits_BTPV: Tensor, frames_BTCHW: Tensor) -> Tensor:
        """Return the mean squared error (frames in [0, 1]) of the decoded expected latents or their nearest tokens."""
        settings, tokenizer = self.settings, self._frozen[0]
        if settings.pixel_frames is not None and settings.pixel_frames < frames_BTCHW.shape[1]:
            drawn = torch.rand(frames_BTCHW.shape[1], device=frames_BTCHW.device).argsort()[: settings.pixel_frames]
            logits_BTPV, frames_BTCHW = logits_BTPV[:, drawn], frames_BTCHW[:, drawn]
        mean_BTPL = tokenizer.quantizer.expected_latents(logits_BTPV)
        if settings.token_choice != "mean":
            nearest = tokenizer.quantizer.nearest_level(mean_BTPL)
            mean_BTPL = mean_BTPL + (nearest - mean_BTPL).detach()  # straight-through gradient
        return F.mse_loss(tokenizer.decode(mean_BTPL).float(), frames_BTCHW.float()) / 4
