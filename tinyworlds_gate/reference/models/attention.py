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

    def keys(self, x_BTPE: Tensor) -> Tensor:
        """Projects x to keys, without the bias.

        A key bias adds one number to all scores of a query, and softmax ignores it. Left out, its gradient is
        the exact zero instead of rounding noise that Adam would blow up to full steps; as a factor of zero it
        stays a parameter with a gradient, which DistributedDataParallel wants.
        """
        return F.linear(x_BTPE, self.k_proj.weight + 0 * self.k_proj.bias[:, None])


class SpatialAttention(SelfAttention):
    """Every patch of a frame attends to every patch of that frame."""

    def forward(self, x_BTPE: Tensor, conditioning: Tensor | None = None) -> Tensor:
        """Maps `[B, T, P, E]` to the same shape."""
        B, T, P, E = x_BTPE.shape

        def heads(y_BTPE: Tensor) -> Tensor:
            return y_BTPE.view(B * T, P, self.num_heads, self.head_dim).transpose(1, 2)  # [BT, N, P, K]

        mixed = F.scaled_dot_product_attention(
            heads(self.q_proj(x_BTPE)), heads(self.keys(x_BTPE)), heads(self.v_proj(x_BTPE))
        )
        mixed_BTPE = mixed.transpose(1, 2).reshape(B, T, P, E)
        normed: Tensor = self.norm(x_BTPE + self.out_proj(mixed_BTPE), conditioning)
        return normed


class TemporalAttention(SelfAttention):
    """Every patch attends to the same place in this frame and in the frames before it."""

    def forward(
        self, x_BTPE: Tensor, conditioning: Tensor | None = None, past: PastKeysValues | None = None
    ) -> tuple[Tensor, PastKeysValues]:
        """Maps `[B, T, P, E]` to the same shape; the frames of `past` come before x. Returns the longer past too."""
        B, T, P, E = x_BTPE.shape
        keys, values = self.keys(x_BTPE), self.v_proj(x_BTPE)
        if past is not None:
            keys, values = torch.cat((past.keys, keys), dim=1), torch.cat((past.values, values), dim=1)

        def heads(y_BTPE: Tensor) -> Tensor:
            # Places and heads share one axis: that is a view, where an axis of B * P sequences would be a copy.
            return y_BTPE.view(B, -1, P * self.num_heads, self.head_dim).transpose(1, 2)  # [B, PN, T, K]

        visible, causal = None, T > 1
        if past is not None and causal:
            steps = torch.arange(keys.shape[1], device=x_BTPE.device)
            visible, causal = steps[None, :] <= steps[-T:, None], False  # [T, past + T]
        with short_sequence_kernel(x_BTPE, keys.shape[1]):
            mixed = F.scaled_dot_product_attention(
                heads(self.q_proj(x_BTPE)), heads(keys), heads(values), attn_mask=visible, is_causal=causal
            )
        mixed_BTPE = mixed.transpose(1, 2).reshape(B, T, P, E)
        return self.norm(x_BTPE + self.out_proj(mixed_BTPE), conditioning), PastKeysValues(keys, values)
