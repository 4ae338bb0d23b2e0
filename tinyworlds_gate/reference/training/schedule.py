"""The learning-rate schedule of a stage: linear warm-up, then cosine decay to one percent of the peak.

The rate is a pure function of the absolute update, so chunked and uninterrupted runs use the same rates. The schedule
ends at the stage's target, not at the chunk's end, which would anneal the rate in every chunk
(hazard 10 of docs/external-checkouts.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FINAL_FRACTION = 0.01


@dataclass(frozen=True)
class Schedule:
    """Peak learning rate and the range of absolute updates ``[start, end)`` of the schedule."""

    peak: float
    start: int
    end: int
    warmup_fraction: float = 0.05

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"schedule_end={self.end} must lie after schedule_start={self.start}")
        if not self.peak > 0:
            raise ValueError(f"learning_rate={self.peak} must be positive")

    @property
    def warmup_updates(self) -> int:
        """Updates of the linear warm-up, at least one."""
        return max(1, int(self.warmup_fraction * (self.end - self.start)))

    def rate_at(self, update: int) -> float:
        """Return the learning rate of the absolute 0-based ``update``, which is clamped to the schedule's range."""
        position = min(max(update - self.start, 0), self.end - self.start - 1)
        warmup = self.warmup_updates
        if position < warmup:
            return self.peak * (position + 1) / warmup
        progress = (position - warmup) / (self.end - self.start - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.peak * (FINAL_FRACTION + (1.0 - FINAL_FRACTION) * cosine)

    def state_dict(self) -> dict[str, float | int]:
        """Return plain data for the checkpoint's ``scheduler_state_dict``."""
        return {"peak": self.peak, "start": self.start, "end": self.end, "warmup_fraction": self.warmup_fraction}
