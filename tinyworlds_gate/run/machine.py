"""The CPUs and the memory that this process may use: those of the machine, or less by a cgroup's limits."""

from __future__ import annotations

import os

from tinyworlds_gate.run.cgroup_limits import cgroup_limits

GIB = 2**30


def machine_cpus() -> int:
    """Number of CPUs of the machine."""
    return os.cpu_count() or 1


def usable_cpus() -> int:
    """Number of CPUs that this process may use, at least 1: by its affinity, its cpuset and its CPU quota."""
    limits = cgroup_limits()
    quota = None if limits.cpus is None else int(limits.cpus)
    return max(1, min(count for count in (affinity_cpus(), limits.cpu_set, quota) if count is not None))


def affinity_cpus() -> int:
    """Number of CPUs on which the scheduler may run this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine_cpus()


def total_memory_gib() -> float:
    """Main memory that this process may use at most, in GiB."""
    import psutil

    total, limit = psutil.virtual_memory().total, cgroup_limits().memory_bytes
    return (total if limit is None else min(total, limit)) / GIB


def available_memory_gib() -> float:
    """Main memory that this process can still allocate, in GiB."""
    import psutil

    available, left = psutil.virtual_memory().available, cgroup_limits().memory_left_bytes
    return (available if left is None else min(available, left)) / GIB
