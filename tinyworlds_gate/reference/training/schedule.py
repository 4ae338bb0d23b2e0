"""The learning-rate schedule of a stage: linear warm-up, then cosine down to one percent of the peak.

The schedule is a pure function of the absolute update, so a resumed chunk, a fresh run and a reader of the history
file all compute the same rate. Source: shared/spec/tinyworlds.md §1 "Optimiser"; hazard 10 is why its end is the
stage's final target and not the chunk's end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FINAL_FRACTION = 0.01


@dataclass(frozen=True)
class Schedule:
    """Peak rate and the span of absolute updates ``[start, end)`` that the schedule covers."""

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
        """Number of updates of the linear warm-up, at least one."""
        return max(1, int(self.warmup_fraction * (self.end - self.start)))

    def rate_at(self, update: int) -> float:
        """Learning rate of the absolute 0-based ``update``; outside the span the nearest end holds."""
        position = min(max(update - self.start, 0), self.end - self.start - 1)
        warmup = self.warmup_updates
        if position < warmup:
            return self.peak * (position + 1) / warmup
        progress = (position - warmup) / max(1, self.end - self.start - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.peak * (FINAL_FRACTION + (1.0 - FINAL_FRACTION) * cosine)

    def state_dict(self) -> dict[str, float | int]:
        """Plain data for the checkpoint's ``scheduler_state_dict``."""
        return {"peak": self.peak, "start": self.start, "end": self.end, "warmup_fraction": self.warmup_fraction}
