"""How the clips of an update get to a GPU: from frames that lie there, or byte by byte from the host's memory.

Both put the next update's clips into places that a captured update reads. They are filled from pinned memory in slots,
so that the host can run several updates ahead; with frames that do not fit on the GPU, the host gathers the clips of
the next updates while the GPU still works on the ones before.

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
    """The clips of the next update, ``micro_batches`` of them; up to ``slots`` updates may be under way."""

    def __init__(self, batches: BatchSource, micro_batches: int, slots: int) -> None:
        self.batches, self.micro_batches = batches, micro_batches
        example = self._next(np.stack([batches.starts[:1].repeat(batches.batch_size)] * micro_batches))
        pinned = batches.device.type == "cuda"
        self._slots = torch.empty(slots, *example.shape, dtype=example.dtype, pin_memory=pinned)
        self._now = example.to(batches.device)

    def draw(self, slot: int) -> None:
        """Draw the clips of the next update and send them on their way."""
        drawn = np.stack([self.batches.draw() for _ in range(self.micro_batches)])
        self._slots[slot].copy_(self._next(drawn))
        self._now.copy_(self._slots[slot], non_blocking=True)

    def clips(self, micro: int) -> Tensor | TokenClips:
        """One micro-batch, computed from what was sent last: frames in [-1, 1] ``[B, T, C, H, W]``, or tokens."""
        if not self.batches.by_starts:
            return to_model_range(self._now[micro])
        return self.batches.batch(self._now[micro])

    def _next(self, starts_AB: np.ndarray) -> Tensor:
        """What is sent: where the clips start, or their bytes ``[A, B, T, H, W, C]``."""
        if self.batches.by_starts:
            return torch.from_numpy(starts_AB)
        return torch.stack([self.batches.bytes_of(starts) for starts in starts_AB])
