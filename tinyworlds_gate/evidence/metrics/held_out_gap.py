"""Find the update from which the held-out loss rises while the training loss still falls (pure)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tinyworlds_gate.evidence.metrics.history import HELD_OUT_LOSS, LOSS, History, centred_mean

LATE = 3
"""Values of the held-out loss that are averaged at its end, and around its minimum."""
LEAST_POINTS = 8
LEAST_RISE = 0.02
"""Smallest rise above the minimum that is reported, as a fraction of it."""
NOISE = 3.0
"""Smallest rise in units of the scatter around the running mean after the minimum."""


@dataclass(frozen=True)
class WideningGap:
    """The held-out loss at its minimum and at the end, and the training loss at the same two places."""

    since: int
    """The update of the minimum, 0-based as in the history."""
    held_out: tuple[float, float]
    training: tuple[float, float]

    def sentence(self) -> str:
        """Return the advice of the report."""
        held_out, training = (f"{early:.4g} to {late:.4g}" for early, late in (self.held_out, self.training))
        return (
            f"The held-out loss rises while the training loss falls since update {self.since}: held-out {held_out}, "
            f"training {training}. More updates on these frames overfit. Use more frames or fewer updates, and compare "
            "the checkpoints with `tinyworlds-gate score --sweep`."
        )


def widening_gap(history: History) -> WideningGap | None:
    """Return the gap; None where it does not widen, or where too few held-out losses were measured to say so."""
    steps, values = history.points(HELD_OUT_LOSS)
    if len(values) < LEAST_POINTS:
        return None
    smooth = centred_mean(values, LATE // 2)
    at = min(range(len(smooth)), key=smooth.__getitem__)
    if len(values) - 1 - at < LATE:
        return None
    lowest, late = smooth[at], sum(values[-LATE:]) / LATE
    squares = [(one - mean) ** 2 for one, mean in zip(values[at:], smooth[at:], strict=True)]
    scatter = (sum(squares) / len(squares)) ** 0.5
    if late - lowest <= max(LEAST_RISE * abs(lowest), NOISE * scatter):
        return None
    around = (steps[max(0, at - 1)], steps[at + 1])
    training = _mean_loss(history, *around), _mean_loss(history, steps[-LATE], history.steps[-1])
    if training[0] is None or training[1] is None or training[1] >= training[0]:
        return None
    return WideningGap(steps[at], (lowest, late), (training[0], training[1]))


def _mean_loss(history: History, first: int, last: int) -> float | None:
    steps, losses = history.points(LOSS)
    part: Sequence[float] = losses[bisect_left(steps, first) : bisect_right(steps, last)]
    return sum(part) / len(part) if part else None
