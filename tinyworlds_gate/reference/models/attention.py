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

from tinyworlds_gate.reference.models import small_heads
from tinyworlds_gate.reference.models.norms import make_norm

SHORT_FRAMES = 16  # up to here plain attention beats the fused kernels on CUDA


class PastKeysValues(NamedTuple):
    """What temporal attention keeps of frames already seen, `[B, T, P, E]` each."""

    keys: Tensor
    values: Tensor


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

    def queries_keys_values(self, x_BTPE: Tensor) -> Tensor:
        """Projects x to `[B, T, P, 3, N, K]` in one product, the keys without their bias.

        A key bias adds one number to all scores of a query, and softmax ignores it. Left out, its gradient is
        the exact zero instead of rounding noise that Adam would blow up to full steps; as a factor of zero it
        stays a parameter with a gradient, which DistributedDataParallel wants.
        """
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        weight = torch.cat((q.weight, k.weight + 0 * k.bias[:, None], v.weight))
        bias = torch.cat((q.bias, torch.zeros_like(k.bias), v.bias))
        return F.linear(x_BTPE, weight, bias).unflatten(-1, (3, self.num_heads, self.head_dim))


class SpatialAttention(SelfAttention):
    """Every patch of a frame attends to every patch of that frame."""

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Maps `[B, T, P, E]` to the same shape."""
        B, T, P, E = x_BTPE.shape
        qkv = self.queries_keys_values(x_BTPE).flatten(0, 1)  # [BT, P, 3, N, K]
        if x_BTPE.is_cuda and small_heads.fit(self.head_dim):
            mixed = small_heads.attend(qkv)
        else:
            q, k, v = qkv.transpose(1, 3).unbind(2)  # [BT, N, P, K] each
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        normed: Tensor = self.norm(x_BTPE + self.out_proj(mixed.reshape(B, T, P, E)), conditioning)
        return normed


class TemporalAttention(SelfAttention):
    """Every patch attends to the same place in this frame and in the frames before it."""

    def forward(
        self, x_BTPE: Tensor, conditioning: Tensor | None = None, past: PastKeysValues | None = None
    ) -> tuple[Tensor, PastKeysValues]:
        """Maps `[B, T, P, E]` to the same shape; the frames of `past` come before x. Returns the longer past too."""
        B, T, P, E = x_BTPE.shape
        queries, keys, values = self.queries_keys_values(x_BTPE).flatten(-2).unbind(-2)  # [B, T, P, E] each
        if past is not None:
            keys, values = torch.cat((past.keys, keys), dim=1), torch.cat((past.values, values), dim=1)

        def heads(y_BTPE: Tensor) -> Tensor:
            # Places and heads share one axis: that is a view, where an axis of B * P sequences would be a copy.
            return y_BTPE.unflatten(-1, (self.num_heads, -1)).flatten(2, 3).transpose(1, 2)  # [B, PN, T, K]

        mixed = causal_attention(heads(queries), heads(keys), heads(values))
        mixed_BTPE = mixed.transpose(1, 2).reshape(B, T, P, E)
        return self.norm(x_BTPE + self.out_proj(mixed_BTPE), conditioning), PastKeysValues(keys, values)


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attends `[B, PN, T, K]` queries to as many or more keys; the last query sees all, the one before all but one."""
    T, S = queries.shape[2], keys.shape[2]
    steps = torch.arange(S, device=queries.device)
    if queries.is_cuda and torch.compiler.is_compiling() and S <= SHORT_FRAMES:
        # Written out, the compiler makes one kernel of it; thousands of 4 x 4 products would be slower.
        scores = (queries[:, :, :, None].float() * keys[:, :, None].float()).sum(-1) * queries.shape[-1] ** -0.5
        weights = scores.masked_fill(steps[None, :] > steps[S - T :, None], float("-inf")).softmax(-1)
        return (weights[..., None] * values[:, :, None].float()).sum(-2).to(values.dtype)
    visible, causal = None, T > 1
    if S > T and causal:
        visible, causal = steps[None, :] <= steps[S - T :, None], False  # [T, S]
    with short_sequence_kernel(queries, S):
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=visible, is_causal=causal)
