"""The CPUs and the memory of this machine."""

from __future__ import annotations

import os

GIB = 2**30


def usable_cpus() -> int:
    """Number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory_gib() -> float:
    """Main memory of the machine in GiB."""
    import psutil

    return psutil.virtual_memory().total / GIB
