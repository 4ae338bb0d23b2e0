"""Dynamics trained the way a rollout uses it: each frame from the clean frames before it, its own tokens hidden.

TinyWorlds hides tokens of all frames of a clip at once, so that nearly every prediction is made from a context full of
holes, which no rollout ever shows the model. Here all frames of a clip are predicted in one pass, each from whole
frames before it (`DynamicsModel.guess`). So that errors of a rollout do not pile up, the context can be made what it
will be there: the model's own predictions, and noise.

Legend: B clips, T frames, C channels, P patches, L latent dims, A action dims, V vocabulary.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyworlds_gate.config.schema import DynamicsConfig
from tinyworlds_gate.reference.models.attention import PastKeysValues
from tinyworlds_gate.reference.models.blocks import projections_in_one
from tinyworlds_gate.reference.models.dynamics import LEAST_MASK_RATIO, DynamicsModel, masked_cross_entropy
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.maskgit import choice_of, choose_tokens, write_tokens
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.objectives import DynamicsObjective
from tinyworlds_gate.reference.training.regional_compile import uncompiled
from tinyworlds_gate.reference.training.token_clips import TokenClips, cacheable


class NextFrameObjective(DynamicsObjective):
    """Stage 3 with ``masking: next_frame``."""

    def __init__(
        self, sizes: ModelSizes, tokenizer: VideoTokenizer, latent_actions: LatentActionModel, settings: DynamicsConfig
    ) -> None:
        super().__init__(sizes, tokenizer, latent_actions)
        self.settings = settings
        self._choose = choice_of(settings.token_choice, tokenizer.quantizer) or choose_tokens

    @property
    def dynamics(self) -> DynamicsModel:
        """The trained model."""
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
        logits = self.dynamics.guess(known_BTPL, latents_BTPL, actions_BTA, mask_BTP)
        loss = masked_cross_entropy(logits, indices_BTP[:, 1:], mask_BTP[:, 1:])
        if self.settings.pixel_loss > 0:
            loss = loss + self.settings.pixel_loss * self._pixel_error(logits, inputs[5][:, 1:])
        return loss, indices_BTP

    def _mask(self, indices_BTP: Tensor) -> Tensor:
        """True = hidden: some frames entirely, of each other one an own share of its places; never none of a frame."""
        B, T, P = indices_BTP.shape
        draw = torch.rand(2, B, T, 1, device=indices_BTP.device)
        ratio = LEAST_MASK_RATIO + (1 - LEAST_MASK_RATIO) * draw[0]
        ratio = torch.where(draw[1] < self.settings.whole_frame_share, 1.0, ratio)
        return torch.rand(B, T, P, device=indices_BTP.device) < ratio

    def _known(self, latents_BTPL: Tensor, actions_BTA: Tensor) -> Tensor:
        """The frames that guesses are made from: the model's own in some clips, true and disturbed in the others."""
        settings, device = self.settings, latents_BTPL.device
        B, T, P, _ = latents_BTPL.shape
        own = math.ceil(settings.own_context * B)
        true_BTPL = latents_BTPL[own:]
        if settings.context_noise > 0 and own < B:
            share = settings.context_noise * torch.rand(B - own, 1, 1, device=device)
            noisy = torch.rand(B - own, T, P, device=device) < share
            random = torch.randint(self.codebook_size, (B - own, T, P), device=device)
            drawn = self._frozen[0].quantizer.latents_from_indices(random).to(true_BTPL.dtype)
            true_BTPL = torch.where(noisy[..., None], drawn, true_BTPL)
        if own == 0:
            return true_BTPL
        return torch.cat((self._rolled_out(latents_BTPL[:own], actions_BTA[:own]), true_BTPL))

    def _rolled_out(self, latents_BTPL: Tensor, actions_BTA: Tensor) -> Tensor:
        """Clips whose frames after the first true ones are what the model makes of those before, as a rollout does it.

        The last frame, which no guess is made from, stays true.
        """
        context, last = self.settings.true_context, latents_BTPL.shape[1] - 1
        frames = list(latents_BTPL.split(1, dim=1))
        hidden = torch.ones(latents_BTPL[:, :1].shape[:3], dtype=torch.bool, device=latents_BTPL.device)
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else latents_BTPL.dtype
        past: list[PastKeysValues] | None = None
        # Each step has a shape of its own, and compiling a dozen of them takes longer than they save.
        with uncompiled() if latents_BTPL.is_cuda else nullcontext(), projections_in_one(self.dynamics, dtype):
            for frame in range(context, last):
                # What is known since the last step, and the frame to be guessed, in one pass: it sees what is known.
                new = range(0 if past is None else frame - 1, frame + 1)
                latents = torch.cat([frames[one] for one in new], dim=1)
                mask = torch.cat([*[~hidden] * (len(new) - 1), hidden], dim=1)
                logits, seen = self.dynamics.extend(latents, actions_BTA[:, max(0, new.start - 1) : frame], mask, past)
                known = [one.first(len(new) - 1) for one in seen]
                past = [before.then(new) for before, new in zip(past, known, strict=True)] if past else known
                tokens, _ = self._choose(logits[:, -1:], 0.0, None)
                frames[frame] = write_tokens(frames[frame], hidden, tokens, self._frozen[0].quantizer)
        return torch.cat(frames, dim=1)

    def _pixel_error(self, logits_BTPV: Tensor, frames_BTCHW: Tensor) -> Tensor:
        """Squared error, in units of [0, 1] frames, of what the mean decodes to, or the nearest tokens to it."""
        settings, tokenizer = self.settings, self._frozen[0]
        if settings.pixel_frames is not None and settings.pixel_frames < frames_BTCHW.shape[1]:
            drawn = torch.rand(frames_BTCHW.shape[1], device=frames_BTCHW.device).argsort()[: settings.pixel_frames]
            logits_BTPV, frames_BTCHW = logits_BTPV[:, drawn], frames_BTCHW[:, drawn]
        mean_BTPL = tokenizer.quantizer.expected_latents(logits_BTPV)
        if settings.token_choice != "mean":
            nearest = tokenizer.quantizer.nearest_level(mean_BTPL)
            mean_BTPL = mean_BTPL + (nearest - mean_BTPL).detach()  # the gradient passes the rounding
        return F.mse_loss(tokenizer.decode(mean_BTPL).float(), frames_BTCHW.float()) / 4
