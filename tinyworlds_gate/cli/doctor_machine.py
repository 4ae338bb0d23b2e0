"""Checks of `tinyworlds-gate doctor` on the machine: its processors, its memory, its own name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from tinyworlds_gate.cli.doctor_folders import Check
from tinyworlds_gate.run.cgroup_limits import CgroupLimits
from tinyworlds_gate.run.machine import GIB, available_memory_gib

MEMORY_WARN_GIB = 4.0
RESOLVE_S = 5.0


def cpus(count: int, load: float, limits: CgroupLimits | None = None, machine: int | None = None) -> Check:
    """Check that two CPU workers can have a core each.

    Args:
        count: CPUs that this process may use.
        load: the machine's load of the last minute.
        limits: those of our cgroup.
        machine: CPUs of the machine, if they are more than ``count``.
    """
    allowed = []
    if limits is not None and limits.cpus is not None and limits.cpus < (machine or count):
        allowed.append(f"a quota of {limits.cpus:g}")
    if limits is not None and limits.cpu_set is not None and limits.cpu_set < (machine or count):
        allowed.append(f"a cpuset of {limits.cpu_set}")
    of = f" ({' and '.join(allowed)} of {machine or count} by its cgroup)" if allowed else ""
    found = f"{count} for this process{of}, load of the last minute {load:.1f}"
    if count < 2:
        return Check("WARN", "cpus", found, "smoke's two workers share one core: expect about twice the time")
    if load > (machine or count) - 1:
        return Check("WARN", "cpus", f"{found}: busy", "wait for the other work to end, or expect longer times")
    return Check("OK", "cpus", found)


def memory(limits: CgroupLimits) -> Check:
    """Check the main memory that this process can still allocate."""
    available = available_memory_gib()
    found = f"{available:.1f} GiB available"
    if limits.memory_bytes is not None:
        found += f" (its cgroup allows {limits.memory_bytes / GIB:.1f} GiB)"
    if available < MEMORY_WARN_GIB:
        raise_limit = " or raise the cgroup's limit" if limits.memory_bytes is not None else ""
        fix = f"close programs until {MEMORY_WARN_GIB:g} GiB are free{raise_limit}; workers may be killed otherwise"
        return Check("WARN", "memory", found, fix)
    return Check("OK", "memory", found)


def own_name(name: str, resolve: Callable[[str], object] | None = None, wait_s: float = RESOLVE_S) -> Check:
    """Check that the machine's own name resolves; only workers on several machines need that."""
    answers: list[str] = []

    def ask() -> None:
        try:
            (resolve or _addresses)(name)
            answers.append("")
        except (OSError, UnicodeError) as error:
            answers.append(getattr(error, "strerror", None) or str(error))

    asking = threading.Thread(target=ask, daemon=True)  # a name server can take minutes
    asking.start()
    asking.join(wait_s)
    problem = answers[0] if answers else f"no answer within {wait_s:g} s"
    if not problem:
        return Check("OK", "host name", f"{name} resolves")
    found = f"{name} does not resolve ({problem}): workers of one machine meet at 127.0.0.1, several machines cannot"
    return Check("WARN", "host name", found, f"add {name} to /etc/hosts, or name addresses in --rdzv-endpoint")


def _addresses(name: str) -> object:
    return socket.getaddrinfo(name, None)
