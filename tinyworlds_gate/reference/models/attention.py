"""Multi-head self-attention over the patches of a frame, or over the past of a patch.

Axes: B batch, T frames, P patches, E embedding, N heads, K dims per head (E = N * K).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tinyworlds_gate.reference.models.kernels import spatial_attention, temporal_attention
from tinyworlds_gate.reference.models.norms import Modulation, make_norm

SHORT_FRAMES = 16  # up to here plain attention beats the fused kernels on CUDA


class PastKeysValues(NamedTuple):
    """What temporal attention keeps of frames already seen, `[B, T, P, N, K]` each."""

    keys: Tensor
    values: Tensor

    def first(self, frames: int) -> PastKeysValues:
        """Those of the first so many frames."""
        return PastKeysValues(self.keys[:, :frames], self.values[:, :frames])

    def then(self, later: PastKeysValues) -> PastKeysValues:
        """Those of these frames and of the ones that follow them."""
        return PastKeysValues(torch.cat((self.keys, later.keys), dim=1), torch.cat((self.values, later.values), dim=1))


def short_sequence_kernel(x: Tensor, length: int) -> AbstractContextManager[None]:
    """Picks the kernel for very many sequences of a few frames.

    On CUDA the fused kernels fill tiles of 64 or more positions with 4, and the plain one is over twice as
    fast; on the CPU the fused one is (64 clips of 4 frames, 256 patches, 8 heads on an H200: 6.1 against 2.7 ms).
    """
    return sdpa_kernel(SDPBackend.MATH) if x.is_cuda and length <= SHORT_FRAMES else nullcontext()


class SelfAttention(nn.Module):
    """The projections and the closing norm that both directions share: `norm(x + attention(x))`."""

    def __init__(self, embed_dim: int, num_heads: int, conditioning_dim: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.norm = make_norm(embed_dim, conditioning_dim)
        self.fused: tuple[Tensor, Tensor] | None = None

    def fuse(self, dtype: torch.dtype) -> None:
        """Put the projections together once, for weights that do not change any more."""
        weight, bias = self.in_one()
        self.fused = (weight.detach().to(dtype), bias.detach().to(dtype))

    def in_one(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of all three projections."""
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        weight = torch.cat((q.weight, k.weight + 0 * k.bias[:, None], v.weight))
        return weight, torch.cat((q.bias, torch.zeros_like(k.bias), v.bias))

    def queries_keys_values(self, x_BTPE: Tensor) -> Tensor:
        """Projects x to `[B, T, P, 3, N, K]` in one product, the keys without their bias.

        A key bias adds one number to all scores of a query, and softmax ignores it. Left out, its gradient is
        the exact zero instead of rounding noise that Adam would blow up to full steps; as a factor of zero it
        stays a parameter with a gradient, which DistributedDataParallel wants.
        """
        weight, bias = self.fused or self.in_one()
        return F.linear(x_BTPE, weight, bias).unflatten(-1, (3, self.num_heads, self.head_dim))


class SpatialAttention(SelfAttention):
    """Every patch of a frame attends to every patch of that frame."""

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Maps `[B, T, P, E]` to the same shape."""
        B, T, P, E = x_BTPE.shape
        qkv = self.queries_keys_values(x_BTPE).flatten(0, 1)  # [BT, P, 3, N, K]
        if x_BTPE.is_cuda and spatial_attention.fit(self.head_dim):
            mixed = spatial_attention.attend(qkv)
        else:
            q, k, v = qkv.transpose(1, 3).unbind(2)  # [BT, N, P, K] each
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        normed: Tensor = self.norm(x_BTPE + self.out_proj(mixed.reshape(B, T, P, E)), conditioning)
        return normed


class TemporalAttention(SelfAttention):
    """Every patch attends to the same place in this frame and in the frames before it."""

    def forward(
        self,
        x_BTPE: Tensor,
        conditioning: Tensor | Modulation | None = None,
        past: PastKeysValues | None = None,
        *,
        twins: bool = False,
    ) -> tuple[Tensor, PastKeysValues]:
        """Maps `[B, T, P, E]` to the same shape; the frames of `past` come before x. Returns what later ones need.

        With ``twins`` the second half of the frames are guesses: guess i sees the frames 0 … i of the first half and
        itself, and no frame sees a guess.
        """
        B, T, P, E = x_BTPE.shape
        qkv = self.queries_keys_values(x_BTPE)  # [B, T, P, 3, N, K]
        if twins:
            known, guesses = qkv.chunk(2, dim=1)
            fused = x_BTPE.is_cuda and temporal_attention.fit(T // 2, self.head_dim)
            mixed = temporal_attention.attend(known) if fused else causal_attention(*known.unbind(3))
            mixed = torch.cat((mixed, attention_of_guesses(known, guesses)), dim=1)
            update = self.out_proj(mixed.reshape(B, T, P, E))
            return self.norm(x_BTPE + update, conditioning), PastKeysValues(*known.detach().unbind(3)[1:])
        queries, keys, values = qkv.unbind(3)
        # Detached: what serves rollouts would add zeros to the gradients of a compiled block.
        seen = PastKeysValues(keys.detach(), values.detach())
        frames = T if past is None else T + past.keys.shape[1]
        if not (x_BTPE.is_cuda and temporal_attention.fit(frames, self.head_dim)):
            if past is not None:
                keys, values = torch.cat((past.keys, keys), dim=1), torch.cat((past.values, values), dim=1)
            mixed = causal_attention(queries, keys, values)
        elif past is None:
            mixed = temporal_attention.attend(qkv)
        else:
            mixed = temporal_attention.attend_to_past(qkv, past.keys, past.values)
        update = self.out_proj(mixed.reshape(B, T, P, E))
        return self.norm(x_BTPE + update, conditioning), seen


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The library's attention from `[B, T, P, N, K]` to `[B, S, P, N, K]`; the last T frames are the queries'.

    The last query sees all frames, the one before it all but one, and so on.
    """
    T, S = queries.shape[1], keys.shape[1]

    def heads(y_BTPNK: Tensor) -> Tensor:
        # Places and heads share one axis: that is a view, where an axis of B * P sequences would be a copy.
        return y_BTPNK.flatten(2, 3).transpose(1, 2)  # [B, PN, T, K]

    visible, causal = None, T > 1
    if S > T and causal:
        steps = torch.arange(S, device=queries.device)
        visible, causal = steps[None, :] <= steps[S - T :, None], False  # [T, S]
    with short_sequence_kernel(queries, S):
        mixed = F.scaled_dot_product_attention(
            heads(queries), heads(keys), heads(values), attn_mask=visible, is_causal=causal
        )
    return mixed.transpose(1, 2).unflatten(2, queries.shape[2:4])


def attention_of_guesses(known_BTP3NK: Tensor, guesses_BTP3NK: Tensor) -> Tensor:
    """What guess i makes of the frames 0 … i and of itself, `[B, T, P, N, K]`."""
    T, scale = known_BTP3NK.shape[1], known_BTP3NK.shape[-1] ** -0.5

    def heads(y_BTP3NK: Tensor) -> Tensor:
        return y_BTP3NK.permute(3, 0, 2, 4, 1, 5)  # [3, B, P, N, T, K]

    _, keys, values = heads(known_BTP3NK)
    queries, own_keys, own_values = heads(guesses_BTP3NK)
    later = torch.ones(T, T, dtype=torch.bool, device=queries.device).triu(1)
    scores = (queries @ keys.transpose(-1, -2)).float().masked_fill(later, float("-inf"))
    own = (queries.float() * own_keys.float()).sum(-1, keepdim=True)
    weights = (torch.cat((scores, own), dim=-1) * scale).softmax(dim=-1).to(values.dtype)
    mixed = weights[..., :T] @ values + weights[..., T:] * own_values
    return mixed.permute(0, 3, 1, 2, 4)
