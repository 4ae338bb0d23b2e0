"""A loss curve of bounded size, and its sparkline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_PARTS = 256
BARS = "▁▂▃▄▅▆▇█"
BARS_ASCII = "_.:-=+*#"
LOG_FROM_RATIO = 10.0


@dataclass(frozen=True)
class CurvePart:
    """Consecutive updates: the first, their number, and the sum of their losses."""

    first: int
    count: int
    total: float

    @property
    def mean(self) -> float:
        return self.total / self.count


class Curve:
    """Collects losses in the order of updates in at most 256 parts; when full, it merges neighbouring parts."""

    def __init__(self) -> None:
        self._parts: list[CurvePart] = []
        self._size = 1

    def add(self, update: int, loss: float) -> None:
        """Add a finite loss."""
        last = self._parts[-1] if self._parts else None
        if last is not None and last.count < self._size:
            self._parts[-1] = CurvePart(last.first, last.count + 1, last.total + loss)
            return
        if len(self._parts) == MAX_PARTS:
            pairs = zip(self._parts[::2], self._parts[1::2], strict=True)
            self._parts = [CurvePart(a.first, a.count + b.count, a.total + b.total) for a, b in pairs]
            self._size *= 2
        self._parts.append(CurvePart(update, 1, loss))

    @property
    def parts(self) -> tuple[CurvePart, ...]:
        """The curve, oldest first."""
        return tuple(self._parts)


def resample(parts: Sequence[CurvePart], width: int) -> list[float]:
    """Return means over at most ``width`` equal groups of parts, oldest first."""
    if not parts or width < 1:
        return []
    columns = min(width, len(parts))
    means = []
    for column in range(columns):
        group = parts[column * len(parts) // columns : (column + 1) * len(parts) // columns]
        means.append(sum(part.total for part in group) / sum(part.count for part in group))
    return means


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether a sparkline of these values is logarithmic: all are positive and span more than a decade."""
    return bool(values) and min(values) > 0 and max(values) > LOG_FROM_RATIO * min(values)


def sparkline(values: Sequence[float], bars: str = BARS) -> str:
    """Return one bar character per value; if all values are equal, the middle one."""
    if is_logarithmic(values):
        values = [math.log(value) for value in values]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high <= low:
        return bars[len(bars) // 2] * len(values)
    top = len(bars) - 1
    return "".join(bars[round((value - low) / (high - low) * top)] for value in values)
