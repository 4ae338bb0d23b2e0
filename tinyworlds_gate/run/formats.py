"""Numbers, durations and sizes as text for people."""

from __future__ import annotations

import math


def number_text(value: object, form: str = ".4g", missing: str = "—") -> str:
    """``value`` in the format ``form``; ``missing`` for anything but a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return missing
    return format(value, form)


def duration_text(seconds: float) -> str:
    """`42.3 s`, `3 min 33 s`, `5 h 02 min`, `3 d 4 h`; a negative duration counts as 0."""
    whole = round(seconds)
    if seconds < 59.95:
        return f"{max(0.0, seconds):.1f} s"
    return f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else _hours_text(whole // 60)


def rounded_duration(seconds: float) -> str:
    """Fewer digits, for a live display: `8.0 s`, `42 s`, `14 min`, `2 h 05 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 89.5:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else _hours_text(minutes)


def _hours_text(minutes: int) -> str:
    hours = round(minutes / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{hours // 24} d {hours % 24} h"


def size_text(size: int) -> str:
    """Bytes as `812 B`, `3.4 KiB`, `2.0 MiB`, `4.0 GiB`."""
    if size < 2**10:
        return f"{size} B"
    unit, name = next(one for one in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")) if size >= one[0])
    return f"{size / unit:.1f} {name}"
