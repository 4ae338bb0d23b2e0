"""Feed clips to updates that were captured as CUDA graphs, from frames on the GPU or in host memory.

A captured update reads its input from a fixed device tensor, which is filled from slots of pinned memory, so that the
host can run several updates ahead. When all frames are on the GPU, only the starts of clips are sent. Otherwise the
host gathers the frames of the next updates while the GPU still computes earlier ones.

Axes: A micro-batches of an update, B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.token_clips import TokenClips


class ClipFeed:
    """The ``micro_batches`` batches of the next update; up to ``slots`` updates may be in flight."""

    def __init__(self, batches: BatchSource, micro_batches: int, slots: int) -> None:
        self.batches, self.micro_batches = batches, micro_batches
        example = self._next(np.stack([batches.starts[:1].repeat(batches.batch_size)] * micro_batches))
        pinned = batches.device.type == "cuda"
        self._slots = torch.empty(slots, *example.shape, dtype=example.dtype, pin_memory=pinned)
        self._on_device = example.to(batches.device)

    def draw(self, slot: int) -> None:
        """Draw the clips of the next update and start copying them to the device."""
        drawn = np.stack([self.batches.draw() for _ in range(self.micro_batches)])
        self._slots[slot].copy_(self._next(drawn))
        self._on_device.copy_(self._slots[slot], non_blocking=True)

    def clips(self, micro: int) -> Tensor | TokenClips:
        """Return a micro-batch of the clips drawn last: frames in [-1, 1] ``[B, T, C, H, W]``, or tokens."""
        if not self.batches.sends_starts:
            return to_model_range(self._on_device[micro])
        return self.batches.batch(self._on_device[micro])

    def _next(self, starts_AB: np.ndarray) -> Tensor:
        """Return what is sent to the device: the starts ``[A, B]``, or the stored frames ``[A, B, T, H, W, C]``."""
        if self.batches.sends_starts:
            return torch.from_numpy(starts_AB)
        return torch.stack([self.batches.bytes_of(starts) for starts in starts_AB])
