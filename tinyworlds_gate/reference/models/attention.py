"""Multi-head self-attention over the patches of a frame (spatial) or over the frames of a patch (temporal, causal).

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

SHORT_FRAMES = 16  # up to this length the math backend of scaled_dot_product_attention is the fastest on CUDA


class KVCache(NamedTuple):
    """Keys and values of temporal attention for the frames already processed, `[B, T, P, N, K]` each."""

    keys: Tensor
    values: Tensor

    def first(self, frames: int) -> KVCache:
        """Return the cache of the first ``frames`` frames."""
        return KVCache(self.keys[:, :frames], self.values[:, :frames])

    def append(self, later: KVCache) -> KVCache:
        """Return the cache of these frames followed by those of ``later``."""
        return KVCache(torch.cat((self.keys, later.keys), dim=1), torch.cat((self.values, later.values), dim=1))


def short_sequence_kernel(x: Tensor, length: int) -> AbstractContextManager[None]:
    """Select the fastest SDPA backend for many sequences of a few frames.

    On CUDA the fused backends pad 4 positions to tiles of 64 or more: 6.1 ms, against 2.7 ms for the math backend
    (H200, 64 clips of 4 frames, 256 patches, 8 heads). On a CPU the fused backend is faster.
    """
    return sdpa_kernel(SDPBackend.MATH) if x.is_cuda and length <= SHORT_FRAMES else nullcontext()


class SelfAttention(nn.Module):
    """Base class of spatial and temporal attention: projections and post-norm, `norm(x + attention(x))`.

    ``q_norm`` and ``k_norm`` normalise the queries and keys of each head; TinyWorlds has none (`variations`).
    """

    def __init__(self, embed_dim: int, num_heads: int, conditioning_dim: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.norm = make_norm(embed_dim, conditioning_dim)
        self.q_norm: nn.RMSNorm | None = None
        self.k_norm: nn.RMSNorm | None = None
        self.fused: tuple[Tensor, Tensor] | None = None

    def fuse(self, dtype: torch.dtype) -> None:
        """Concatenate the query, key and value weights once, for inference with frozen weights."""
        weight, bias = self.fused_weights()
        self.fused = (weight.detach().to(dtype), bias.detach().to(dtype))

    def fused_weights(self) -> tuple[Tensor, Tensor]:
        """Return the concatenated weight `[3 * E, E]` and bias `[3 * E]` of queries, keys and values."""
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        if self.k_norm is not None:  # a norm after the bias: softmax does not cancel it
            return torch.cat((q.weight, k.weight, v.weight)), torch.cat((q.bias, k.bias, v.bias))
        weight = torch.cat((q.weight, k.weight + 0 * k.bias[:, None], v.weight))
        return weight, torch.cat((q.bias, torch.zeros_like(k.bias), v.bias))

    def queries_keys_values(self, x_BTPE: Tensor) -> Tensor:
        """Project x to `[B, T, P, 3, N, K]` in one matrix product, without the key bias.

        A key bias adds the same number to all scores of a query, so softmax cancels it. With the bias, its gradient
        would be rounding noise, which Adam scales up to full steps. The bias is multiplied by zero instead of
        dropped, because DistributedDataParallel requires a gradient for every parameter.
        """
        weight, bias = self.fused or self.fused_weights()
        qkv = F.linear(x_BTPE, weight, bias).unflatten(-1, (3, self.num_heads, self.head_dim))
        if self.q_norm is None or self.k_norm is None:
            return qkv
        q, k, v = qkv.unbind(3)
        normed = [norm(one.float()).to(v.dtype) for norm, one in ((self.q_norm, q), (self.k_norm, k))]
        return torch.stack((*normed, v), dim=3)


class SpatialAttention(SelfAttention):
    """Each patch attends to all patches of its frame."""

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | Modulation | None = None) -> Tensor:
        """Map `[B, T, P, E]` to the same shape."""
        B, T, P, E = x_BTPE.shape
        qkv = self.queries_keys_values(x_BTPE).flatten(0, 1)  # [BT, P, 3, N, K]
        if x_BTPE.is_cuda and spatial_attention.supports(self.head_dim):
            mixed = spatial_attention.attend(qkv)
        else:
            q, k, v = qkv.transpose(1, 3).unbind(2)  # [BT, N, P, K] each
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        normed: Tensor = self.norm(x_BTPE + self.out_proj(mixed.reshape(B, T, P, E)), conditioning)
        return normed


class TemporalAttention(SelfAttention):
    """Each patch attends to the patches at its position in this frame and in earlier frames."""

    def forward(
        self,
        x_BTPE: Tensor,
        conditioning: Tensor | Modulation | None = None,
        kv_cache: KVCache | None = None,
        *,
        parallel_prediction: bool = False,
    ) -> tuple[Tensor, KVCache]:
        """Map `[B, T, P, E]` to the same shape and return the keys and values of these frames.

        The frames of ``kv_cache`` precede x. With ``parallel_prediction`` the first half of the frames is known and
        the second half is predicted: prediction i attends to itself and to the known frames 0 … i, and no frame
        attends to a prediction. The returned cache then holds the known frames only.
        """
        B, T, P, E = x_BTPE.shape
        qkv = self.queries_keys_values(x_BTPE)  # [B, T, P, 3, N, K]
        if parallel_prediction:
            known, predicted = qkv.chunk(2, dim=1)
            fused = x_BTPE.is_cuda and temporal_attention.supports(T // 2, self.head_dim)
            mixed = temporal_attention.attend(known) if fused else causal_attention(*known.unbind(3))
            mixed = torch.cat((mixed, parallel_prediction_attention(known, predicted)), dim=1)
            update = self.out_proj(mixed.reshape(B, T, P, E))
            return self.norm(x_BTPE + update, conditioning), KVCache(*known.detach().unbind(3)[1:])
        queries, keys, values = qkv.unbind(3)
        # Detached: rollouts need no gradients, and a compiled block would add zeros to them.
        new_cache = KVCache(keys.detach(), values.detach())
        frames = T if kv_cache is None else T + kv_cache.keys.shape[1]
        if not (x_BTPE.is_cuda and temporal_attention.supports(frames, self.head_dim)):
            if kv_cache is not None:
                keys, values = torch.cat((kv_cache.keys, keys), dim=1), torch.cat((kv_cache.values, values), dim=1)
            mixed = causal_attention(queries, keys, values)
        elif kv_cache is None:
            mixed = temporal_attention.attend(qkv)
        else:
            mixed = temporal_attention.attend_with_cache(qkv, kv_cache.keys, kv_cache.values)
        update = self.out_proj(mixed.reshape(B, T, P, E))
        return self.norm(x_BTPE + update, conditioning), new_cache


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention by PyTorch's SDPA, with queries `[B, T, P, N, K]` and keys and values `[B, S, P, N, K]`.

    The queries belong to the last T of the S frames. Returns `[B, T, P, N, K]`.
    """
    T, S = queries.shape[1], keys.shape[1]

    def heads(y_BTPNK: Tensor) -> Tensor:
        # Merging patches and heads into one axis is a view; merging clips and patches would copy.
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


def parallel_prediction_attention(known_BTP3NK: Tensor, predicted_BTP3NK: Tensor) -> Tensor:
    """Attention output of the predicted frames, `[B, T, P, N, K]`; prediction i attends to known 0 … i and itself."""
    T, scale = known_BTP3NK.shape[1], known_BTP3NK.shape[-1] ** -0.5

    def heads(y_BTP3NK: Tensor) -> Tensor:
        return y_BTP3NK.permute(3, 0, 2, 4, 1, 5)  # [3, B, P, N, T, K]

    _, keys, values = heads(known_BTP3NK)
    queries, own_keys, own_values = heads(predicted_BTP3NK)
    later = torch.ones(T, T, dtype=torch.bool, device=queries.device).triu(1)
    scores = (queries @ keys.transpose(-1, -2)).float().masked_fill(later, float("-inf"))
    own = (queries.float() * own_keys.float()).sum(-1, keepdim=True)
    weights = (torch.cat((scores, own), dim=-1) * scale).softmax(dim=-1).to(values.dtype)
    mixed = weights[..., :T] @ values + weights[..., T:] * own_values
    return mixed.permute(0, 3, 1, 2, 4)
