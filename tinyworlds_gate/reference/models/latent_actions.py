"""The latent-action model: which of a few codes explains the change between two frames (second stage).

Axes: B batch, T frames, C channels, H height, W width, P patches, E embedding, A action dims.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.norms import FILM_STD, ConditionedNorm, NormedLinear
from tinyworlds_gate.reference.models.patches import PatchEmbedding, patches_to_frames
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.transformer import SpaceTimeTransformer

ACTION_LEVELS = 2  # each action dim is -1 or 1
VARIANCE_FLOOR = 0.01  # below this the actions of a batch are nearly alike and the penalty pulls them apart
VARIANCE_WEIGHT = 100.0


class LatentActionOutput(NamedTuple):
    """One pass: pred_frames `[B, T-1, C, H, W]`, actions `[B, T-1, A]`, indices `[B, T-1]` and two scalars."""

    loss: Tensor
    pred_frames: Tensor
    actions: Tensor
    indices: Tensor
    variance: Tensor


LEAST_SHIFT, MOST_SHIFT = 0.05, 0.2  # of a frame's side
SHARE_OF_SHIFTS = 4  # so many clips of a batch to one made-up shift


class MadeUpShifts(nn.Module):
    """Pairs of a frame and itself moved left, right, up or down by a random part of its side, or not at all.

    What comes in at the border repeats the last row or column. The motion is known because it was made: no label of the
    data is used. Without parameters.
    """

    signs: Tensor
    ways: Tensor

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        patterns = torch.zeros(5, max(action_dim, 3))
        patterns[:, :3] = torch.tensor([[0, 0, -1], [1, 1, 1], [-1, -1, 1], [1, -1, 1], [-1, 1, 1]])
        ways = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        self.register_buffer("signs", patterns[:, :action_dim], persistent=False)  # [5, A]
        self.register_buffer("ways", ways, persistent=False)  # [5, 2], x and y

    def forward(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the pairs `[B, 2, C, H, W]` and the signs that their actions shall have, `[B, A]`.

        Two signs name the direction, a third whether it moved; 0 asks for nothing.
        """
        B, _, H, W = frames_BCHW.shape
        device = frames_BCHW.device
        kinds_B = torch.randint(5, (B,), device=device)
        size_B = LEAST_SHIFT + (MOST_SHIFT - LEAST_SHIFT) * torch.rand(B, device=device)
        right_B1, down_B1 = (self.ways[kinds_B] * size_B[:, None]).split(1, dim=1)
        x_BW = (torch.arange(W, device=device) - (right_B1 * W).round().long()).clamp(0, W - 1)
        y_BH = (torch.arange(H, device=device) - (down_B1 * H).round().long()).clamp(0, H - 1)
        clips = torch.arange(B, device=device)[:, None, None]
        moved = frames_BCHW.permute(0, 2, 3, 1)[clips, y_BH[:, :, None], x_BW[:, None, :]].permute(0, 3, 1, 2)
        return torch.stack((frames_BCHW, moved), dim=1), self.signs[kinds_B]


class ActionEncoder(nn.Module):
    """Pairs of neighbouring frames to action values that are not yet quantised."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
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
        """Maps T frames to `[B, T-1, A]`."""
        pooled_BTE = self.transformer(self.patch_embed(frames_BTCHW)).mean(dim=2)
        pairs = torch.cat((pooled_BTE[:, :-1], pooled_BTE[:, 1:]), dim=-1)  # [B, T-1, 2E]
        actions: Tensor = self.action_head(pairs)
        return actions


class ActionDecoder(nn.Module):
    """Past frames and actions to next frames; in training it sees the first frame only, so the actions must speak."""

    def __init__(self, sizes: ModelSizes) -> None:
        super().__init__()
        self.patch_size = sizes.patch_size
        self.patch_embed = PatchEmbedding(sizes)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 1, sizes.embed_dim))
        self.transformer = SpaceTimeTransformer(sizes, conditioning_dim=sizes.action_dim)
        self.frame_head = NormedLinear(sizes.embed_dim, sizes.patch_values)

    def forward(self, frames_BTCHW: Tensor, actions_BTA: Tensor) -> Tensor:
        """Maps frames 0 … T-2 and the T-1 actions after them to frames 1 … T-1, in [-1, 1]."""
        if self.training:
            first = self.patch_embed(frames_BTCHW[:, :1])  # [B, 1, P, E]
            hidden = self.mask_token.to(first.dtype).expand(-1, frames_BTCHW.shape[1] - 1, first.shape[2], -1)
            x_BTPE = torch.cat((first, hidden.expand(first.shape[0], -1, -1, -1)), dim=1)
        else:
            x_BTPE = self.patch_embed(frames_BTCHW)
        pixels = torch.tanh(self.frame_head(self.transformer(x_BTPE, actions_BTA)))
        return patches_to_frames(pixels, self.patch_size)


class LatentActionModel(nn.Module):
    """Learns, without labels, a discrete action per transition that lets the decoder tell the next frame.

    With ``frame_pairs`` the action between two frames is inferred from these two alone, as if they were a clip of their
    own, wherever a longer clip begins. The first ``antisymmetric_dims`` of it then change sign when the two frames
    change places, and the others stay: what both frames show alike can not become an action. ``code_entropy_floor``
    (nats) asks that the codes of a batch be spread so far (`code_balance_penalty`), ``shift_weight`` that they tell
    made-up shifts of one frame apart (`MadeUpShifts`). Weights are the same either way.
    """

    def __init__(
        self,
        sizes: ModelSizes,
        *,
        frame_pairs: bool = False,
        antisymmetric_dims: int = 0,
        film_std: float = FILM_STD,
        shift_weight: float = 0.0,
        code_entropy_floor: float = 0.0,
        code_entropy_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.frame_pairs, self.antisymmetric_dims = frame_pairs, antisymmetric_dims
        self.shift_weight = shift_weight
        self.shifts = MadeUpShifts(sizes.action_dim)
        self.code_entropy_floor, self.code_entropy_weight = code_entropy_floor, code_entropy_weight
        self.encoder = ActionEncoder(sizes)
        self.quantizer = FiniteScalarQuantizer(sizes.action_dim, ACTION_LEVELS)
        self.decoder = ActionDecoder(sizes)
        if film_std != FILM_STD:
            for module in self.decoder.modules():
                if isinstance(module, ConditionedNorm):
                    nn.init.normal_(module.projection.weight, std=film_std)

    def encode(self, frames_BTCHW: Tensor) -> Tensor:
        """Maps T frames in [-1, 1] to T-1 quantised actions `[B, T-1, A]`. Raises ConfigError for fewer than two."""
        actions: Tensor = self.quantizer(self._prequant(frames_BTCHW))
        return actions

    def action_indices(self, actions_BTA: Tensor) -> Tensor:
        """Maps quantised actions `[B, T-1, A]` to codes `[B, T-1]`, int64."""
        return self.quantizer.indices_from_latents(actions_BTA)

    def forward(self, frames_BTCHW: Tensor) -> LatentActionOutput:
        """Predicts frames 1 … T-1; in training mode the decoder's frames but the first are masked.

        The loss is smooth-L1 plus a penalty on actions that hardly vary over the batch (tinyworlds.md §1).
        """
        prequant = self._prequant(frames_BTCHW)
        actions = self.quantizer(prequant)
        pred_frames = self.decoder(frames_BTCHW[:, :-1], actions)
        variance = prequant.float().var(dim=0, correction=0).mean()
        loss = F.smooth_l1_loss(pred_frames, frames_BTCHW[:, 1:]) + VARIANCE_WEIGHT * F.relu(VARIANCE_FLOOR - variance)
        if self.code_entropy_weight > 0:
            loss = loss + self.code_entropy_weight * code_balance_penalty(prequant, self.code_entropy_floor)
        if self.training and self.shift_weight > 0:
            some = -(-len(frames_BTCHW) // SHARE_OF_SHIFTS)
            shifted, signs_BA = self.shifts(frames_BTCHW[:some, -1])
            told = self._prequant(shifted)[:, 0].float()
            loss = loss + self.shift_weight * F.softplus(-2 * told * signs_BA).mean()
        indices = self.action_indices(actions.detach())
        return LatentActionOutput(loss, pred_frames, actions, indices, variance.detach())

    def _prequant(self, frames_BTCHW: Tensor) -> Tensor:
        if frames_BTCHW.dim() == 5 and frames_BTCHW.shape[1] < 2:
            raise ConfigError("A clip of one frame holds no action; give the latent-action model at least 2 frames.")
        if self.frame_pairs:
            pairs = torch.stack((frames_BTCHW[:, :-1], frames_BTCHW[:, 1:]), dim=2)  # [B, T-1, 2, C, H, W]
            return self._of_pairs(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])
        prequant: Tensor = self.encoder(frames_BTCHW)
        return prequant

    def _of_pairs(self, pairs_N2CHW: Tensor) -> Tensor:
        """Maps pairs of frames `[N, 2, C, H, W]` to `[N, A]`."""
        if not self.antisymmetric_dims:
            alone: Tensor = self.encoder(pairs_N2CHW)[:, 0]
            return alone
        both: Tensor = self.encoder(torch.cat((pairs_N2CHW, pairs_N2CHW.flip(1))))[:, 0]
        forth_NA, back_NA = both.chunk(2)
        m = self.antisymmetric_dims
        return torch.cat((forth_NA[:, :m] - back_NA[:, :m], forth_NA[:, m:] + back_NA[:, m:]), dim=-1)


def code_balance_penalty(prequant_BTA: Tensor, floor: float) -> Tensor:
    """How far a batch is from using its codes, in nats: 0 once the codes tell ``floor`` nats of the transitions.

    A value before tanh is read as a leaning, `(1 + tanh) / 2`, towards the upper level of its dim, and a code's
    probability as the product over dims. The batch's mean over transitions has an entropy (how evenly codes are used);
    less the mean entropy of a single transition (how undecided it is), that is the information of the codes about
    their transitions (Krause et al. 2010), a scalar of at most A ln 2.
    """
    up_NA = (1 + torch.tanh(prequant_BTA.float().flatten(0, 1))) / 2
    up_NA = up_NA.clamp(1e-6, 1 - 1e-6)
    codes_NK = torch.ones_like(up_NA[:, :1])
    for dim in range(up_NA.shape[1]):
        up = up_NA[:, dim : dim + 1]
        codes_NK = torch.cat((codes_NK * (1 - up), codes_NK * up), dim=1)
    undecided = -(codes_NK * codes_NK.log()).sum(dim=1).mean()
    usage_K = codes_NK.mean(dim=0)
    return F.relu(floor - (-(usage_K * usage_K.log()).sum() - undecided))
