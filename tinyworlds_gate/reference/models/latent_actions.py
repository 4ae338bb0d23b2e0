"""The latent-action model (second stage): infers a discrete action code for each pair of consecutive frames.

Axes: B batch, T frames, C channels, H height, W width, P patches, E embedding, A action dims.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.matches import matched_offsets
from tinyworlds_gate.reference.models.norms import FILM_STD, ConditionedNorm, NormedLinear
from tinyworlds_gate.reference.models.patches import PatchEmbedding, patches_to_frames
from tinyworlds_gate.reference.models.positions import spatial_code
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer
from tinyworlds_gate.reference.models.translation import explained_translation

ACTION_LEVELS = 2  # each action dim is -1 or 1
VARIANCE_FLOOR = 0.01  # the loss penalises a variance of the actions over the batch below this
VARIANCE_WEIGHT = 100.0
CHANGED = 0.1  # a pixel has changed if one of its channels differs by more than this from the frame before, in [-1, 1]


class LatentActionOutput(NamedTuple):
    """Output of one pass: pred_frames `[B, T-1, C, H, W]`, actions `[B, T-1, A]`, indices `[B, T-1]`, two scalars."""

    loss: Tensor
    pred_frames: Tensor
    actions: Tensor
    indices: Tensor
    variance: Tensor


class ActionEncoder(nn.Module):
    """Encodes pairs of consecutive frames as action values before quantisation."""

    offset_codes: Tensor

    def __init__(self, sizes: ModelSizes, *, match_patches: bool = False) -> None:
        super().__init__()
        self.patch_size, self.match_patches = sizes.patch_size, match_patches
        self.register_buffer("offset_codes", spatial_code(3, sizes.embed_dim), persistent=False)  # [9, E]
        pair_dim, action_dim = 2 * sizes.embed_dim, sizes.action_dim
        self.patch_embed = PatchEmbedding(sizes)
        self.transformer = SpaceTimeTransformer(sizes)
        self.action_head = nn.Sequential(
            nn.LayerNorm(pair_dim),
            nn.Linear(pair_dim, 4 * action_dim),
            nn.GELU(),
            nn.Linear(4 * action_dim, action_dim),
        )

    def forward(self, frames_BTCHW: Tensor) -> Tensor:
        """Map frames `[B, T, C, H, W]` to `[B, T-1, A]`."""
        x_BTPE = self.patch_embed(frames_BTCHW)
        if self.match_patches:
            x_BTPE = x_BTPE + matched_offsets(frames_BTCHW, self.patch_size, self.offset_codes).to(x_BTPE.dtype)
        pooled_BTE = self.transformer(x_BTPE).mean(dim=2)
        pairs = torch.cat((pooled_BTE[:, :-1], pooled_BTE[:, 1:]), dim=-1)  # [B, T-1, 2E]
        actions: Tensor = self.action_head(pairs)
        return actions


class ActionDecoder(nn.Module):
    """Predicts the next frames from earlier frames and actions; in training from the first frame and actions only."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.patch_size = sizes.patch_size
        self.patch_embed = PatchEmbedding(sizes)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 1, sizes.embed_dim))
        self.transformer = SpaceTimeTransformer(sizes, conditioning_dim=sizes.action_dim)
        self.frame_head = NormedLinear(sizes.embed_dim, sizes.patch_values)

    def forward(self, frames_BTCHW: Tensor, actions_BTA: Tensor) -> Tensor:
        """Map frames 0 … T-2 and the T-1 actions after them to frames 1 … T-1, in [-1, 1]."""
        if self.training:
            first = self.patch_embed(frames_BTCHW[:, :1])  # [B, 1, P, E]
            hidden = self.mask_token.to(first.dtype).expand(-1, frames_BTCHW.shape[1] - 1, first.shape[2], -1)
            x_BTPE = torch.cat((first, hidden.expand(first.shape[0], -1, -1, -1)), dim=1)
        else:
            x_BTPE = self.patch_embed(frames_BTCHW)
        pixels = torch.tanh(self.frame_head(self.transformer(x_BTPE, actions_BTA)))
        return patches_to_frames(pixels, self.patch_size)


class LatentActionModel(nn.Module):
    """Learns, without labels, a discrete action per transition from which the decoder can predict the next frame.

    The options change the computation and the loss, not the weights' names and shapes.

    Args:
        sizes: shapes of the model.
        frame_pairs: infer each action from its two frames alone, independent of the rest of the clip.
        antisymmetric_dims: with ``frame_pairs``, this many leading action dims change sign when the two frames are
            swapped, and the others stay equal, so content common to both frames cannot become an action.
        match_patches: the encoder's patches carry the offset of their best match in the frame before
            (`matched_offsets`).
        film_std: standard deviation of the decoder's initial FiLM weights.
        translation_weight: weight of a loss that aligns the first three action dims with the image translation
            between the two frames (`explained_translation`).
        code_entropy_floor: minimum information of the codes in a batch, in nats (`code_balance_penalty`).
        code_entropy_weight: weight of that penalty; 0 disables it.
        changed_weight: extra loss weight of the pixels that change between the two frames (`changed_pixels`).
    """

    def __init__(
        self,
        sizes: ModelSizes,
        *,
        frame_pairs: bool = False,
        antisymmetric_dims: int = 0,
        match_patches: bool = False,
        film_std: float = FILM_STD,
        translation_weight: float = 0.0,
        code_entropy_floor: float = 0.0,
        code_entropy_weight: float = 0.0,
        changed_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.frame_pairs, self.antisymmetric_dims = frame_pairs, antisymmetric_dims
        self.translation_weight, self.changed_weight = translation_weight, changed_weight
        self.code_entropy_floor, self.code_entropy_weight = code_entropy_floor, code_entropy_weight
        self.encoder = ActionEncoder(sizes, match_patches=match_patches)
        self.quantizer = FiniteScalarQuantizer(sizes.action_dim, ACTION_LEVELS)
        self.decoder = ActionDecoder(sizes)
        if film_std != FILM_STD:
            for module in self.decoder.modules():
                if isinstance(module, ConditionedNorm):
                    nn.init.normal_(module.projection.weight, std=film_std)

    def encode(self, frames_BTCHW: Tensor) -> Tensor:
        """Map T frames in [-1, 1] to T-1 quantised actions `[B, T-1, A]`. Raises ConfigError when T < 2."""
        actions: Tensor = self.quantizer(self._prequant(frames_BTCHW))
        return actions

    def action_indices(self, actions_BTA: Tensor) -> Tensor:
        """Map quantised actions `[B, T-1, A]` to codes `[B, T-1]`, int64."""
        return self.quantizer.indices_from_latents(actions_BTA)

    def forward(self, frames_BTCHW: Tensor) -> LatentActionOutput:
        """Predict frames 1 … T-1; in training mode all decoder input frames after the first are masked.

        The loss is smooth-L1 plus a penalty on a low variance of the actions over the batch, plus
        the optional terms of the constructor.
        """
        prequant = self._prequant(frames_BTCHW)
        actions = self.quantizer(prequant)
        pred_frames = self.decoder(frames_BTCHW[:, :-1], actions)
        variance = prequant.float().var(dim=0, correction=0).mean()
        loss = self._prediction_error(pred_frames, frames_BTCHW) + VARIANCE_WEIGHT * F.relu(VARIANCE_FLOOR - variance)
        if self.code_entropy_weight > 0:
            loss = loss + self.code_entropy_weight * code_balance_penalty(prequant, self.code_entropy_floor)
        if self.training and self.translation_weight > 0:
            pairs = torch.stack((frames_BTCHW[:, :-1], frames_BTCHW[:, 1:]), dim=2).flatten(0, 1)
            signs_N3 = explained_translation(pairs)
            predicted_N3 = prequant.float().flatten(0, 1)[:, :3]
            sign_loss = F.softplus(-2 * predicted_N3 * signs_N3) * signs_N3.abs()
            loss = loss + self.translation_weight * sign_loss.mean()
        indices = self.action_indices(actions.detach())
        return LatentActionOutput(loss, pred_frames, actions, indices, variance.detach())

    def _prediction_error(self, pred_BTCHW: Tensor, frames_BTCHW: Tensor) -> Tensor:
        if self.changed_weight == 0:
            return F.smooth_l1_loss(pred_BTCHW, frames_BTCHW[:, 1:])
        errors = F.smooth_l1_loss(pred_BTCHW, frames_BTCHW[:, 1:], reduction="none")
        weights = 1 + self.changed_weight * changed_pixels(frames_BTCHW)
        return (weights * errors).mean() / weights.mean()

    def _prequant(self, frames_BTCHW: Tensor) -> Tensor:
        if frames_BTCHW.dim() == 5 and frames_BTCHW.shape[1] < 2:
            raise ConfigError(
                "A clip of one frame has no action: the latent-action model needs at least 2 frames. Use longer clips."
            )
        if self.frame_pairs:
            pairs = torch.stack((frames_BTCHW[:, :-1], frames_BTCHW[:, 1:]), dim=2)  # [B, T-1, 2, C, H, W]
            return self._of_pairs(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])
        prequant: Tensor = self.encoder(frames_BTCHW)
        return prequant

    def _of_pairs(self, pairs_N2CHW: Tensor) -> Tensor:
        """Map pairs of frames `[N, 2, C, H, W]` to action values before quantisation `[N, A]`."""
        if not self.antisymmetric_dims:
            alone: Tensor = self.encoder(pairs_N2CHW)[:, 0]
            return alone
        both: Tensor = self.encoder(torch.cat((pairs_N2CHW, pairs_N2CHW.flip(1))))[:, 0]
        forth_NA, back_NA = both.chunk(2)
        m = self.antisymmetric_dims
        return torch.cat((forth_NA[:, :m] - back_NA[:, :m], forth_NA[:, m:] + back_NA[:, m:]), dim=-1)


def changed_pixels(frames_BTCHW: Tensor) -> Tensor:
    """Return 1.0 where a pixel of frames 1 … T-1 differs from the frame before, else 0.0: ``[B, T-1, 1, H, W]``."""
    change = (frames_BTCHW[:, 1:] - frames_BTCHW[:, :-1]).abs().amax(dim=2, keepdim=True)
    return (change > CHANGED).to(frames_BTCHW.dtype)


def code_balance_penalty(prequant_BTA: Tensor, floor: float) -> Tensor:
    """Return how far the codes' mutual information with the transitions is below ``floor``, in nats (>= 0, scalar).

    `(1 + tanh(x)) / 2` is the probability of the upper level of a dim, and a code's probability is the product over
    dims. The mutual information is the entropy of the batch's mean code distribution (how evenly codes are used) minus
    the mean entropy of a single transition (how uncertain it is), at most A ln 2 (Krause et al. 2010).
    """
    up_NA = (1 + torch.tanh(prequant_BTA.float().flatten(0, 1))) / 2
    up_NA = up_NA.clamp(1e-6, 1 - 1e-6)
    codes_NK = torch.ones_like(up_NA[:, :1])
    for dim in range(up_NA.shape[1]):
        up = up_NA[:, dim : dim + 1]
        codes_NK = torch.cat((codes_NK * (1 - up), codes_NK * up), dim=1)
    mean_entropy = -(codes_NK * codes_NK.log()).sum(dim=1).mean()
    usage_K = codes_NK.mean(dim=0)
    return F.relu(floor - (-(usage_K * usage_K.log()).sum() - mean_entropy))
