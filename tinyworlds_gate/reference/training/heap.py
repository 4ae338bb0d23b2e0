"""Keep freed memory in the process, for training on a CPU.

An update allocates and frees the same large tensors again and again. By default glibc returns each to the system, so
that every update pays for page faults (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD).
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameter numbers of mallopt(3)
LARGEST_FROM_HEAP = 1 << 30  # bytes; larger tensors are mapped and returned as before
MOST_UNUSED = (1 << 31) - 1  # bytes of unused memory at the heap's end before any is returned


def keep_freed_memory() -> bool:
    """Let malloc reuse freed memory instead of returning it; return False where the C library cannot."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP)) and bool(mallopt(M_TRIM_THRESHOLD, MOST_UNUSED))
