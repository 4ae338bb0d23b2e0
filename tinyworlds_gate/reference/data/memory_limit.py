"""Refuse frames that do not fit into memory, before anything is allocated."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.run.machine import GIB, total_memory_gib


def frames_bytes(count: int, frame_size: int) -> int:
    """Return the bytes of ``count`` square RGB frames, one byte a channel."""
    return count * frame_size * frame_size * 3


def require_memory(needed_bytes: int, what: str | Path, fix: str) -> None:
    """Raise ``DataError`` with the estimate if ``what`` needs more than the machine's memory."""
    needed, total = needed_bytes / GIB, total_memory_gib()
    if needed > total:
        raise DataError(
            f"{what} needs about {needed:,.0f} GiB of memory; this machine has {total:,.0f} GiB (fix: {fix})"
        )
